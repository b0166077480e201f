// The AWS SDK for JavaScript against a running server: what the shell's aws.env says, and no word more, points it there.
// Run by test_javascript.py, in one process.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer, request as httpRequest } from "node:http";
import { after, before, test } from "node:test";

import {
  CreateAliasCommand,
  CreateGrantCommand,
  CreateKeyCommand,
  CustomKeyStoreNotFoundException,
  DecryptCommand,
  DescribeCustomKeyStoresCommand,
  DescribeKeyCommand,
  DryRunOperationException,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GetKeyPolicyCommand,
  IncorrectKeyException,
  InvalidCiphertextException,
  KMSClient,
  KMSServiceException,
  ListKeysCommand,
  ListResourceTagsCommand,
  NotFoundException,
  RevokeGrantCommand,
  UnsupportedOperationException,
  paginateDescribeCustomKeyStores,
  paginateListAliases,
  paginateListGrants,
  paginateListKeys,
} from "@aws-sdk/client-kms";

const STORE = "cks-1234567890abcdef0";
const IN_STORE = { Origin: "AWS_CLOUDHSM", CustomKeyStoreId: STORE };
const BOB = "arn:aws:iam::111122223333:user/bob";
const NO_KEY = "1234abcd-12ab-34cd-56ef-000000000000";
const context = { Department: "IT", Ort: "Zürich" };
const plaintext = new TextEncoder().encode("meet me at noon");

const kms = new KMSClient();
let key;

before(async () => {
  ({ KeyMetadata: key } = await kms.send(
    new CreateKeyCommand({ ...IN_STORE, Description: "Schlüssel", Tags: [{ TagKey: "Ort", TagValue: "Zürich" }] }),
  ));
});
after(() => kms.destroy());

function call(Command, params, options) {
  return kms.send(new Command(params), options);
}

// What was asked for must be an error of the class, and of the name that goes with it.
async function refused(promise, Class, name = Class.name) {
  const error = await promise.then(
    () => assert.fail(`expected ${name}`),
    (error) => error,
  );
  assert.equal(error.name, name, error);
  assert.ok(error instanceof Class && error instanceof KMSServiceException, `${name} is not of its class`);
  assert.equal(error.$fault, "client");
  assert.equal(error.$metadata.httpStatusCode, 400);
  assert.equal(error.$metadata.attempts, 1, "an error of the caller's must not be tried again");
  assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
  return error;
}

async function all(pages, member) {
  const found = [];
  let number = 0;
  for await (const page of pages) {
    found.push(...page[member]);
    number += 1;
  }
  return { found, number };
}

test("a key in the custom key store is made and described", async () => {
  assert.equal(key.Origin, "AWS_CLOUDHSM");
  assert.equal(key.CustomKeyStoreId, STORE);
  const { KeyMetadata, $metadata } = await call(DescribeKeyCommand, { KeyId: key.KeyId });
  assert.deepEqual(KeyMetadata, key);
  assert.ok(KeyMetadata.CreationDate instanceof Date && Math.abs(Date.now() - KeyMetadata.CreationDate) < 600_000);
  assert.equal(KeyMetadata.Description, "Schlüssel");
  assert.equal($metadata.httpStatusCode, 200);
  assert.match($metadata.requestId, /^[0-9a-f-]{36}$/);
  const { Tags } = await call(ListResourceTagsCommand, { KeyId: key.KeyId });
  assert.deepEqual(Tags, [{ TagKey: "Ort", TagValue: "Zürich" }]);
});

test("an alias, whose answer has no body, leads to the key", async () => {
  const AliasName = `alias/javascript-${key.KeyId}`;
  const { $metadata, ...answer } = await call(CreateAliasCommand, { AliasName, TargetKeyId: key.KeyId });
  assert.deepEqual(answer, {});
  assert.equal($metadata.httpStatusCode, 200);
  const { KeyMetadata } = await call(DescribeKeyCommand, { KeyId: AliasName });
  assert.equal(KeyMetadata.KeyId, key.KeyId);
});

test("what is encrypted is decrypted, with its encryption context and no other", async () => {
  const sealed = await call(EncryptCommand, { KeyId: key.KeyId, Plaintext: plaintext, EncryptionContext: context });
  assert.ok(sealed.CiphertextBlob instanceof Uint8Array);
  const { CiphertextBlob } = sealed;
  const opened = await call(DecryptCommand, { CiphertextBlob, EncryptionContext: context });
  assert.deepEqual(opened.Plaintext, plaintext);
  assert.equal(opened.KeyId, key.Arn);
  const other = call(DecryptCommand, { CiphertextBlob, EncryptionContext: { Department: "HR" } });
  const error = await refused(other, InvalidCiphertextException);
  assert.ok(["", "UnknownError"].includes(error.message), error.message); // AWS gives no reason
});

test("every length of plaintext up to the limit comes back", async () => {
  for (const length of [1, 4096]) {
    const Plaintext = new Uint8Array(randomBytes(length));
    const { CiphertextBlob } = await call(EncryptCommand, { KeyId: key.KeyId, Plaintext });
    assert.deepEqual((await call(DecryptCommand, { CiphertextBlob })).Plaintext, Plaintext);
  }
  const tooLong = call(EncryptCommand, { KeyId: key.KeyId, Plaintext: new Uint8Array(4097) });
  await refused(tooLong, KMSServiceException, "ValidationException");
});

test("data keys come with and without their plaintext", async () => {
  const made = await call(GenerateDataKeyCommand, { KeyId: key.KeyId, KeySpec: "AES_256" });
  assert.equal(made.Plaintext.length, 32);
  const opened = await call(DecryptCommand, { CiphertextBlob: made.CiphertextBlob });
  assert.deepEqual(opened.Plaintext, made.Plaintext);
  const without = await call(GenerateDataKeyWithoutPlaintextCommand, { KeyId: key.KeyId, NumberOfBytes: 64 });
  assert.equal(without.Plaintext, undefined);
  assert.equal((await call(DecryptCommand, { CiphertextBlob: without.CiphertextBlob })).Plaintext.length, 64);
});

test("errors are of the SDK's own classes", async () => {
  const missing = await refused(call(DescribeKeyCommand, { KeyId: NO_KEY }), NotFoundException);
  assert.match(missing.message, new RegExp(`Key '.*${NO_KEY}' does not exist`));
  const stores = call(DescribeCustomKeyStoresCommand, { CustomKeyStoreName: "NoSuchStore" });
  await refused(stores, CustomKeyStoreNotFoundException);
  const noCiphertext = call(DecryptCommand, { CiphertextBlob: randomBytes(100) });
  await refused(noCiphertext, InvalidCiphertextException);
  const { CiphertextBlob } = await call(EncryptCommand, { KeyId: key.KeyId, Plaintext: plaintext });
  const { KeyMetadata: other } = await call(CreateKeyCommand, IN_STORE);
  await refused(call(DecryptCommand, { CiphertextBlob, KeyId: other.KeyId }), IncorrectKeyException);
  const asymmetric = { ...IN_STORE, KeySpec: "RSA_2048", KeyUsage: "SIGN_VERIFY" };
  await refused(call(CreateKeyCommand, asymmetric), UnsupportedOperationException);
  const dry = call(EncryptCommand, { KeyId: key.KeyId, Plaintext: plaintext, DryRun: true });
  await refused(dry, DryRunOperationException);
});

test("errors that no model names have AWS's name and a class for all", async () => {
  await refused(call(DescribeKeyCommand, { KeyId: "" }), KMSServiceException, "ValidationException");
  const stranger = new KMSClient({ credentials: { accessKeyId: "AKIA0000000000000000", secretAccessKey: "x" } });
  await refused(stranger.send(new ListKeysCommand()), KMSServiceException, "UnrecognizedClientException");
  const { accessKeyId } = await kms.config.credentials();
  const forger = new KMSClient({ credentials: { accessKeyId, secretAccessKey: "x" } });
  const error = await refused(forger.send(new ListKeysCommand()), KMSServiceException, "InvalidSignatureException");
  assert.match(error.message, /^The request signature we calculated does not match/);
});

test("paginators come to an end and miss nothing", async () => {
  for (let number = 0; number < 5; number += 1) {
    const AliasName = `alias/page-${number}-${key.KeyId}`;
    await call(CreateAliasCommand, { AliasName, TargetKeyId: key.KeyId });
    const Name = number === 0 ? undefined : `${number}`; // AWS shows an empty one then
    await call(CreateGrantCommand, { KeyId: key.KeyId, GranteePrincipal: BOB, Operations: ["Decrypt"], Name });
  }
  const by = { client: kms, pageSize: 2 };
  const keys = await all(paginateListKeys(by, {}), "Keys");
  assert.ok(keys.found.some(({ KeyArn }) => KeyArn === key.Arn));
  assert.equal(keys.number, Math.ceil(keys.found.length / 2));
  assert.equal(new Set(keys.found.map(({ KeyId }) => KeyId)).size, keys.found.length);
  const aliases = await all(paginateListAliases(by, { KeyId: key.KeyId }), "Aliases");
  assert.ok(aliases.found.length >= 5 && aliases.number >= 3);
  const grants = await all(paginateListGrants(by, { KeyId: key.KeyId }), "Grants");
  assert.deepEqual(grants.found.map(({ Name }) => Name).sort(), ["", "1", "2", "3", "4"]);
  for (const { GrantId } of grants.found) await call(RevokeGrantCommand, { KeyId: key.KeyId, GrantId });
  const stores = await all(paginateDescribeCustomKeyStores({ client: kms }, {}), "CustomKeyStores");
  assert.equal(stores.found[0].CustomKeyStoreName, "ExampleKeyStore");
});

test("a policy is the text that was put", async () => {
  const { Policy, PolicyName } = await call(GetKeyPolicyCommand, { KeyId: key.KeyId });
  assert.equal(PolicyName, "default");
  assert.ok(JSON.parse(Policy).Statement.length >= 1);
});

test("fifty calls at once on a few connections are answered each with its own", async () => {
  const texts = Array.from({ length: 50 }, (_, number) => new TextEncoder().encode(`call ${number}`));
  const sealed = await Promise.all(texts.map((Plaintext) => call(EncryptCommand, { KeyId: key.KeyId, Plaintext })));
  const opened = await Promise.all(sealed.map(({ CiphertextBlob }) => call(DecryptCommand, { CiphertextBlob })));
  assert.deepEqual(opened.map(({ Plaintext }) => Plaintext), texts);
});

test("a call that is aborted ends, and the client goes on", async () => {
  const early = AbortSignal.abort();
  await assert.rejects(call(ListKeysCommand, {}, { abortSignal: early }), { name: "AbortError" });
  const controller = new AbortController();
  const sent = call(CreateKeyCommand, IN_STORE, { abortSignal: controller.signal });
  setTimeout(() => controller.abort(), 5);
  await sent.then(({ KeyMetadata }) => assert.ok(KeyMetadata), (error) => assert.equal(error.name, "AbortError"));
  assert.ok((await call(DescribeKeyCommand, { KeyId: key.KeyId })).KeyMetadata);
});

// A server in between that treats the first connections badly. It leaves Host as it is, because that is signed.
async function between(treat, use) {
  const target = new URL(process.env.AWS_ENDPOINT_URL);
  let number = 0;
  const proxy = createServer((incoming, outgoing) => {
    number += 1;
    if (treat(number, incoming, outgoing)) return;
    const { method, url, headers } = incoming;
    const forwarded = httpRequest({ host: target.hostname, port: target.port, method, path: url, headers });
    forwarded.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  await new Promise((ready) => proxy.listen(0, "127.0.0.1", ready));
  try {
    return await use(`http://127.0.0.1:${proxy.address().port}`);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
}

test("a connection that breaks is tried again, signed anew", async () => {
  await between(
    (number, incoming) => number < 3 && (incoming.socket.destroy(), true),
    async (endpoint) => {
      const client = new KMSClient({ endpoint });
      const answer = await client.send(new DescribeKeyCommand({ KeyId: key.KeyId }));
      assert.equal(answer.$metadata.attempts, 3);
      assert.equal(answer.KeyMetadata.KeyId, key.KeyId);
      client.destroy();
    },
  );
});

test("a server that does not answer is given up after the client's time", async () => {
  await between(
    () => true,
    async (endpoint) => {
      const requestHandler = { requestTimeout: 200, throwOnRequestTimeout: true };
      const client = new KMSClient({ endpoint, maxAttempts: 1, requestHandler });
      await assert.rejects(client.send(new ListKeysCommand()), { name: "TimeoutError" });
      client.destroy();
    },
  );
});

test("a client whose clock is an hour off learns the time from the refusal", async (t) => {
  const client = new KMSClient();
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 3_600_000 });
  const answer = await client.send(new DescribeKeyCommand({ KeyId: key.KeyId }));
  assert.equal(answer.$metadata.attempts, 2);
  assert.equal((await client.send(new ListKeysCommand())).$metadata.attempts, 1, "it remembers");
  client.destroy();
});
