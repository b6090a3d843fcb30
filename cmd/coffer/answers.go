package main

import "github.com/coffer-hsm/coffer/pkcs11"

// answer is what a person is told about a return value.
type answer struct {
	text string
	hint string
	code exitCode
}

// answers is the one table of sentences. A return value that is not in it is named as it is.
var answers = map[pkcs11.RV]answer{
	pkcs11.CKR_PIN_INCORRECT: {"the user PIN is wrong",
		"coffer token show tells whether few tries are left", exitPIN},
	pkcs11.CKR_PIN_LOCKED: {"the user PIN is locked",
		"the security officer can unlock it: coffer pin unlock", exitPIN},
	pkcs11.CKR_PIN_LEN_RANGE: {"the PIN is too short or too long", "choose another PIN", exitPIN},
	pkcs11.CKR_PIN_INVALID:   {"the PIN has characters that are not allowed", "choose another PIN", exitPIN},
	pkcs11.CKR_PIN_TOO_WEAK:  {"the PIN is too easy to guess", "choose a longer one", exitPIN},
	pkcs11.CKR_PIN_EXPIRED:   {"the PIN has expired", "set a new one: coffer pin set", exitPIN},
	pkcs11.CKR_USER_NOT_LOGGED_IN: {"this needs a login",
		"give the PIN with --pin-file or in COFFER_PIN, or run the command in a terminal", exitPIN},
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED: {"the user PIN is not set yet",
		"the security officer sets it: coffer pin reset", exitPIN},
	pkcs11.CKR_USER_TYPE_INVALID: {"this user may not do that", "some things are the security officer's, some the user's", exitPIN},
	pkcs11.CKR_NEW_PIN_MODE:      {"the PIN must be changed first", "coffer pin set", exitPIN},

	pkcs11.CKR_TOKEN_NOT_PRESENT:     {"there is no token in this slot", "make one: coffer token init --label NAME", exitNotFound},
	pkcs11.CKR_TOKEN_NOT_INITIALIZED: {"the token is not initialised", "coffer token init --label NAME", exitNotFound},
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED:  {"the token's file is not one that this program understands", "coffer doctor says more", exitFailed},
	pkcs11.CKR_TOKEN_WRITE_PROTECTED: {"the token cannot be changed", "coffer doctor says whether file permissions are the reason", exitFailed},
	pkcs11.CKR_DEVICE_ERROR:          {"the token cannot be read or written", "coffer doctor says more", exitFailed},
	pkcs11.CKR_DEVICE_MEMORY:         {"the token has no room left", "coffer doctor shows the disk", exitFailed},
	pkcs11.CKR_DEVICE_REMOVED:        {"the token has gone away", "coffer doctor says more", exitFailed},
	pkcs11.CKR_SLOT_ID_INVALID:       {"there is no such slot", "coffer token list shows them", exitNotFound},
	pkcs11.CKR_GENERAL_ERROR:         {"something went wrong inside Coffer, which is a fault of ours", "coffer doctor may say more; please report it", exitFailed},
	pkcs11.CKR_FUNCTION_FAILED:       {"the token could not do that now", "try again; coffer doctor may say more", exitFailed},
	pkcs11.CKR_HOST_MEMORY:           {"there is not enough memory", "process less at a time", exitFailed},

	pkcs11.CKR_OBJECT_HANDLE_INVALID: {"there is no such key", "coffer key list shows what is there", exitNotFound},
	pkcs11.CKR_KEY_HANDLE_INVALID:    {"there is no such key", "coffer key list shows what is there", exitNotFound},
	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: {"the key is not allowed to be used like this",
		"coffer key show tells what it may do; usage is given when a key is made", exitFailed},
	pkcs11.CKR_KEY_TYPE_INCONSISTENT: {"the mechanism does not fit the key's type",
		"leave --mechanism out for the usual one; coffer mechanisms lists all", exitUsage},
	pkcs11.CKR_KEY_SIZE_RANGE:         {"the key's size is not allowed here", "coffer mechanisms shows the sizes", exitUsage},
	pkcs11.CKR_KEY_UNEXTRACTABLE:      {"the key may not leave the token", "this is decided when a key is made and cannot be undone", exitFailed},
	pkcs11.CKR_ATTRIBUTE_SENSITIVE:    {"the key's value may not leave the token", "this is decided when a key is made and cannot be undone", exitFailed},
	pkcs11.CKR_ATTRIBUTE_READ_ONLY:    {"this property of the key cannot be changed", "", exitFailed},
	pkcs11.CKR_ATTRIBUTE_TYPE_INVALID: {"the object has no such property", "", exitUsage},
	pkcs11.CKR_ATTRIBUTE_VALUE_INVALID: {"a property of the key has a value that is not allowed",
		"for an import: the file may be damaged", exitUsage},
	pkcs11.CKR_TEMPLATE_INCOMPLETE:   {"a property that the key needs is missing", "", exitUsage},
	pkcs11.CKR_TEMPLATE_INCONSISTENT: {"the wanted properties contradict each other", "", exitUsage},
	pkcs11.CKR_ACTION_PROHIBITED:     {"the token's policy does not allow that", "", exitFailed},
	pkcs11.CKR_FUNCTION_REJECTED:     {"the request was turned down", "", exitFailed},
	pkcs11.CKR_KEY_EXHAUSTED:         {"the key has been used as often as it may be", "make a new key", exitFailed},
	pkcs11.CKR_CURVE_NOT_SUPPORTED:   {"the token does not know this elliptic curve", "coffer key generate --help lists the types", exitUsage},
	pkcs11.CKR_PUBLIC_KEY_INVALID:    {"the public key is not valid", "the file may be damaged", exitFailed},

	pkcs11.CKR_MECHANISM_INVALID:       {"the token does not have this mechanism, or not for this", "coffer mechanisms lists what it has", exitUsage},
	pkcs11.CKR_MECHANISM_PARAM_INVALID: {"the mechanism's parameter is not valid", "", exitUsage},
	pkcs11.CKR_FUNCTION_NOT_SUPPORTED:  {"the token cannot do that", "coffer mechanisms lists what it can", exitFailed},
	pkcs11.CKR_DATA_LEN_RANGE: {"the data has a length that the mechanism does not take",
		"RSA encrypts only a little: encrypt a large file with an AES key", exitFailed},
	pkcs11.CKR_DATA_INVALID:                {"the data does not fit the mechanism", "", exitFailed},
	pkcs11.CKR_ENCRYPTED_DATA_INVALID:      {"the data was changed, or encrypted with another key", "check the key and the mechanism", exitInvalid},
	pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE:    {"the encrypted data has an impossible length", "check the file, the key and the mechanism", exitInvalid},
	pkcs11.CKR_AEAD_DECRYPT_FAILED:         {"the data was changed, or encrypted with another key", "check the key and the mechanism", exitInvalid},
	pkcs11.CKR_SIGNATURE_INVALID:           {"the signature is NOT valid", "check the key, the data, the mechanism and --format", exitInvalid},
	pkcs11.CKR_SIGNATURE_LEN_RANGE:         {"the signature is NOT valid, its length is impossible for this key", "check the key, the mechanism and --format", exitInvalid},
	pkcs11.CKR_PARAMETER_SET_NOT_SUPPORTED: {"the token does not have this parameter set", "coffer mechanisms lists what it has", exitUsage},
}

// soAnswers replaces sentences where the PIN in question is the security officer's.
var soAnswers = map[pkcs11.RV]answer{
	pkcs11.CKR_PIN_INCORRECT: {"the security officer's PIN is wrong",
		"coffer token show tells whether few tries are left", exitPIN},
	pkcs11.CKR_PIN_LOCKED: {"the security officer's PIN is locked",
		"nobody can unlock it; the user's keys go on working", exitPIN},
	pkcs11.CKR_PIN_EXPIRED: {"the security officer's PIN has expired", "set a new one: coffer pin set --so", exitPIN},
	pkcs11.CKR_USER_NOT_LOGGED_IN: {"this needs the security officer",
		"give his PIN with --so-pin-file or in COFFER_SO_PIN, or run the command in a terminal", exitPIN},
}
