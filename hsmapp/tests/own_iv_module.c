/* A PKCS#11 module that makes the IVs of AES-GCM itself, as AWS CloudHSM's does, over another module and its tokens.
 *
 * It hands out the other module's function list with one entry replaced: C_EncryptInit with CKM_AES_GCM takes only an
 * IV buffer of 12 zero bytes, and writes 12 bytes of C_GenerateRandom there before it lets the other module begin.
 * Everything else, decryption among it, is the other module's own. UNDERLYING is its path, given to the compiler.
 */

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef unsigned long CK_RV;

struct mechanism {
    CK_ULONG mechanism;
    void *parameter;
    CK_ULONG parameter_length;
};

struct gcm_parameters {
    unsigned char *iv;
    CK_ULONG iv_length;
    CK_ULONG iv_bits;
    unsigned char *aad;
    CK_ULONG aad_length;
    CK_ULONG tag_bits;
};

typedef CK_RV (*get_function_list)(void ***list);
typedef CK_RV (*encrypt_init)(CK_ULONG session, struct mechanism *mechanism, CK_ULONG key);
typedef CK_RV (*generate_random)(CK_ULONG session, unsigned char *data, CK_ULONG length);

enum {
    CKR_GENERAL_ERROR = 0x5,
    CKR_MECHANISM_PARAM_INVALID = 0x71,
    CKM_AES_GCM = 0x1087,
    IV_BYTES = 12,
    /* Positions in CK_FUNCTION_LIST of PKCS #11 v2.40, the version field counted as 0. */
    ENCRYPT_INIT = 30,
    GENERATE_RANDOM = 65,
    FUNCTIONS = 69
};

static void *functions[FUNCTIONS];
static void **underlying;

static CK_RV own_iv_encrypt_init(CK_ULONG session, struct mechanism *mechanism, CK_ULONG key) {
    static const unsigned char zeros[IV_BYTES];
    if (mechanism != NULL && mechanism->mechanism == CKM_AES_GCM) {
        struct gcm_parameters *gcm = mechanism->parameter;
        if (gcm->iv_length != IV_BYTES || memcmp(gcm->iv, zeros, IV_BYTES) != 0)
            return CKR_MECHANISM_PARAM_INVALID;
        CK_RV answer = ((generate_random)underlying[GENERATE_RANDOM])(session, gcm->iv, IV_BYTES);
        if (answer != 0)
            return answer;
    }
    return ((encrypt_init)underlying[ENCRYPT_INIT])(session, mechanism, key);
}

CK_RV C_GetFunctionList(void ***list) {
    if (underlying == NULL) {
        void *library = dlopen(UNDERLYING, RTLD_NOW | RTLD_LOCAL);
        get_function_list get = library == NULL ? NULL : (get_function_list)dlsym(library, "C_GetFunctionList");
        if (get == NULL || get(&underlying) != 0)
            return CKR_GENERAL_ERROR;
        memcpy(functions, underlying, sizeof functions);
        functions[ENCRYPT_INIT] = (void *)own_iv_encrypt_init;
    }
    *list = functions;
    return 0;
}
