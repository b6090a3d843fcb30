// The numbers of the standard that the program uses.

static class CKF { public const ulong RW_SESSION = 2, SERIAL_SESSION = 4, OS_LOCKING_OK = 2; }

static class CKU { public const ulong USER = 1; }

static class CKO { public const ulong PRIVATE_KEY = 3; }

static class CKA
{
    public const ulong CLASS = 0, TOKEN = 1, LABEL = 3, ENCRYPT = 0x104, DECRYPT = 0x105, SIGN = 0x108, VERIFY = 0x10a, MODULUS_BITS = 0x121,
        PRIVATE_EXPONENT = 0x123, PUBLIC_KEY_INFO = 0x129, VALUE_LEN = 0x161, EC_PARAMS = 0x180;
}

static class CKM
{
    public const ulong RSA_PKCS_KEY_PAIR_GEN = 0, SHA256_RSA_PKCS_PSS = 0x43, SHA256 = 0x250, EC_KEY_PAIR_GEN = 0x1040, ECDSA_SHA256 = 0x1044,
        AES_KEY_GEN = 0x1080, AES_GCM = 0x1087;
}

static class CKG { public const ulong MGF1_SHA256 = 2; }

static class CKR
{
    public const ulong ATTRIBUTE_SENSITIVE = 0x11, ENCRYPTED_DATA_INVALID = 0x40, KEY_FUNCTION_NOT_PERMITTED = 0x68, MECHANISM_PARAM_INVALID = 0x71,
        OPERATION_NOT_INITIALIZED = 0x91, PIN_INCORRECT = 0xa0, SESSION_HANDLE_INVALID = 0xb3, SIGNATURE_INVALID = 0xc0,
        USER_NOT_LOGGED_IN = 0x101, CRYPTOKI_ALREADY_INITIALIZED = 0x191;
}
