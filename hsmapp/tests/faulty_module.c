/* A PKCS#11 module that fails when it is told to, over another module and its tokens.
 *
 * It hands out the other module's function list with some entries replaced. Before such a function asks the other
 * module it looks for a file of its name beside SoftHSM's configuration, which every HSM has for itself
 * (<SOFTHSM2_CONF>.C_Decrypt). The number in the file says how many calls are still to fail: each answers
 * CKR_GENERAL_ERROR, as SoftHSM does for whatever it dislikes, and lowers the number. UNDERLYING is the other module's
 * path, given to the compiler.
 */

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef unsigned long CK_RV;
typedef CK_RV (*get_function_list)(void ***list);
typedef CK_RV (*function)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG);

enum {
    CKR_GENERAL_ERROR = 0x5,
    /* Positions in CK_FUNCTION_LIST of PKCS #11 v2.40, the version field counted as 0. */
    ENCRYPT = 31,
    DECRYPT = 35,
    GENERATE_KEY = 59,
    WRAP_KEY = 61,
    UNWRAP_KEY = 62,
    FUNCTIONS = 69
};

static void *functions[FUNCTIONS];
static void **underlying;

static int is_to_fail(const char *name) {
    char path[4096];
    long left = 0;
    const char *configuration = getenv("SOFTHSM2_CONF");
    if (configuration == NULL)
        return 0;
    snprintf(path, sizeof path, "%s.%s", configuration, name);
    FILE *file = fopen(path, "r+");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld", &left) == 1 && left > 0) {
        rewind(file);
        fprintf(file, "%ld       ", left - 1);
    }
    fclose(file);
    return left > 0;
}

/* Every argument is a number or a pointer, so on the machines that this runs on eight words pass whatever there are. */
#define PARAMETERS CK_ULONG a, CK_ULONG b, CK_ULONG c, CK_ULONG d, CK_ULONG e, CK_ULONG f, CK_ULONG g, CK_ULONG h
#define CALL(position) ((function)underlying[position])(a, b, c, d, e, f, g, h)

/* What ends an operation that was begun must end it, however it answers. */
#define FAILS_AFTER(word, position)                                                                                    \
    static CK_RV faulty_##word(PARAMETERS) {                                                                           \
        CK_RV answer = CALL(position);                                                                                 \
        return is_to_fail("C_" #word) ? CKR_GENERAL_ERROR : answer;                                                    \
    }
#define FAILS_BEFORE(word, position)                                                                                   \
    static CK_RV faulty_##word(PARAMETERS) { return is_to_fail("C_" #word) ? CKR_GENERAL_ERROR : CALL(position); }

FAILS_AFTER(Encrypt, ENCRYPT)
FAILS_AFTER(Decrypt, DECRYPT)
FAILS_BEFORE(GenerateKey, GENERATE_KEY)
FAILS_BEFORE(WrapKey, WRAP_KEY)
FAILS_BEFORE(UnwrapKey, UNWRAP_KEY)

CK_RV C_GetFunctionList(void ***list) {
    if (underlying == NULL) {
        void *library = dlopen(UNDERLYING, RTLD_NOW | RTLD_LOCAL);
        get_function_list get = library == NULL ? NULL : (get_function_list)dlsym(library, "C_GetFunctionList");
        if (get == NULL || get(&underlying) != 0)
            return CKR_GENERAL_ERROR;
        memcpy(functions, underlying, sizeof functions);
        functions[ENCRYPT] = (void *)faulty_Encrypt;
        functions[DECRYPT] = (void *)faulty_Decrypt;
        functions[GENERATE_KEY] = (void *)faulty_GenerateKey;
        functions[WRAP_KEY] = (void *)faulty_WrapKey;
        functions[UNWRAP_KEY] = (void *)faulty_UnwrapKey;
    }
    *list = functions;
    return 0;
}
