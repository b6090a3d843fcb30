package object

import "github.com/coffer-hsm/coffer/pkcs11"

// The columns that several kinds of object share (PKCS#11 v3.2, section 4). In a kind's list of columns a later row
// replaces an earlier one for the same attribute.

// every object: common attributes
var common = []row{
	{pkcs11.CKA_CLASS, createMust, nil, nil},
	{pkcs11.CKA_UNIQUE_ID, byToken, nil, nil},
}

// storage objects. CKA_COPYABLE and CKA_PRIVATE can only be tightened; CKA_PRIVATE so that no copy is easier to reach than
// its source.
var storage = []row{
	{pkcs11.CKA_TOKEN, onCopy | guard, no, nil},
	{pkcs11.CKA_PRIVATE, onCopy | stickyTrue | guard, no, nil},
	{pkcs11.CKA_MODIFIABLE, onCopy | guard, yes, nil},
	{pkcs11.CKA_LABEL, settable, empty, nil},
	{pkcs11.CKA_COPYABLE, settable | stickyFalse | guard, yes, nil},
	{pkcs11.CKA_DESTROYABLE, onCopy | guard, yes, nil},
}

// all keys
var key = []row{
	{pkcs11.CKA_KEY_TYPE, createMust | unwrapMust, nil, nil},
	{pkcs11.CKA_ID, settable, empty, nil},
	{pkcs11.CKA_START_DATE, settable, empty, nil},
	{pkcs11.CKA_END_DATE, settable, empty, nil},
	{pkcs11.CKA_DERIVE, permission, usageOf, nil},
	{pkcs11.CKA_LOCAL, byToken, localOf, nil},
	{pkcs11.CKA_KEY_GEN_MECHANISM, byToken, generatorOf, nil},
	{pkcs11.CKA_ALLOWED_MECHANISMS, 0, nil, someMechanisms},
}

// public keys
var publicKey = []row{
	{pkcs11.CKA_SUBJECT, settable, empty, nil},
	{pkcs11.CKA_ENCRYPT, permission, usageOf, nil},
	{pkcs11.CKA_VERIFY, permission, usageOf, nil},
	{pkcs11.CKA_VERIFY_RECOVER, permission, usageOf, nil},
	{pkcs11.CKA_WRAP, permission, usageOf, nil},
	{pkcs11.CKA_ENCAPSULATE, permission, usageOf, nil},
	{pkcs11.CKA_TRUSTED, settable | soOnly | guard, no, nil},
	{pkcs11.CKA_WRAP_TEMPLATE, 0, nil, nil},
	{pkcs11.CKA_ENCAPSULATE_TEMPLATE, 0, nil, nil},
	{pkcs11.CKA_PUBLIC_KEY_INFO, derived, nil, nil},
}

// what private and secret keys have in common.
//
// Deviation: the standard's default for CKA_SENSITIVE of a secret key is false; ours is true, but for what a key agreement
// gives a session.
var guarded = []row{
	{pkcs11.CKA_PRIVATE, onCopy | stickyTrue | guard, yes, nil},
	{pkcs11.CKA_SENSITIVE, settable | stickyTrue | guard, sensitiveOf, nil},
	{pkcs11.CKA_EXTRACTABLE, settable | stickyFalse | guard, extractableOf, nil},
	{pkcs11.CKA_ALWAYS_SENSITIVE, byToken | guard, alwaysSensitive, nil},
	{pkcs11.CKA_NEVER_EXTRACTABLE, byToken | guard, neverExtractable, nil},
	{pkcs11.CKA_WRAP_WITH_TRUSTED, settable | stickyTrue | guard, trustedOnlyOf, nil},
	{pkcs11.CKA_UNWRAP_TEMPLATE, 0, nil, nil},
	{pkcs11.CKA_DERIVE_TEMPLATE, 0, nil, nil},
}

// private keys
var privateKey = []row{
	{pkcs11.CKA_SUBJECT, settable, empty, nil},
	{pkcs11.CKA_DECRYPT, permission, usageOf, nil},
	{pkcs11.CKA_SIGN, permission, usageOf, nil},
	{pkcs11.CKA_SIGN_RECOVER, permission, usageOf, nil},
	{pkcs11.CKA_UNWRAP, permission, usageOf, nil},
	{pkcs11.CKA_DECAPSULATE, permission, usageOf, nil},
	{pkcs11.CKA_ALWAYS_AUTHENTICATE, guard, no, nil},
	{pkcs11.CKA_DECAPSULATE_TEMPLATE, 0, nil, nil},
	{pkcs11.CKA_PUBLIC_KEY_INFO, settable | derived, nil, nil},
}

// secret keys
var secretKey = []row{
	{pkcs11.CKA_ENCRYPT, permission, usageOf, nil},
	{pkcs11.CKA_DECRYPT, permission, usageOf, nil},
	{pkcs11.CKA_SIGN, permission, usageOf, nil},
	{pkcs11.CKA_VERIFY, permission, usageOf, nil},
	{pkcs11.CKA_WRAP, permission, usageOf, nil},
	{pkcs11.CKA_UNWRAP, permission, usageOf, nil},
	{pkcs11.CKA_CHECK_VALUE, settable | derived | clearable, nil, nil},
	{pkcs11.CKA_TRUSTED, settable | soOnly | guard, no, nil},
	{pkcs11.CKA_WRAP_TEMPLATE, 0, nil, nil},
	{pkcs11.CKA_VALUE, keySecret, nil, nil},
	{pkcs11.CKA_VALUE_LEN, createNever, nil, nil},
}

// secret keys of a length that the caller chooses
var chosenLength = []row{{pkcs11.CKA_VALUE_LEN, length, nil, nil}}

// secret keys whose type fixes the length: the standard gives them no CKA_VALUE_LEN, clients send it all the same
var fixedLength = []row{{pkcs11.CKA_VALUE_LEN, createNever | hint, nil, nil}}

// one-time password keys
var otp = []row{
	{pkcs11.CKA_OTP_FORMAT, 0, zero, upTo(pkcs11.CK_OTP_FORMAT_BINARY)},
	{pkcs11.CKA_OTP_LENGTH, 0, constant(uint(6)), nil},
	{pkcs11.CKA_OTP_TIME_INTERVAL, 0, nil, nil},
	{pkcs11.CKA_OTP_USER_FRIENDLY_MODE, 0, no, nil},
	{pkcs11.CKA_OTP_CHALLENGE_REQUIREMENT, 0, zero, upTo(pkcs11.CK_OTP_PARAM_MANDATORY)},
	{pkcs11.CKA_OTP_TIME_REQUIREMENT, 0, zero, upTo(pkcs11.CK_OTP_PARAM_MANDATORY)},
	{pkcs11.CKA_OTP_COUNTER_REQUIREMENT, 0, zero, upTo(pkcs11.CK_OTP_PARAM_MANDATORY)},
	{pkcs11.CKA_OTP_PIN_REQUIREMENT, 0, zero, upTo(pkcs11.CK_OTP_PARAM_MANDATORY)},
	{pkcs11.CKA_OTP_COUNTER, 0, empty, nil},
	{pkcs11.CKA_OTP_TIME, 0, empty, nil},
	{pkcs11.CKA_OTP_USER_IDENTIFIER, 0, empty, nil},
	{pkcs11.CKA_OTP_SERVICE_IDENTIFIER, 0, empty, nil},
	{pkcs11.CKA_OTP_SERVICE_LOGO, 0, empty, nil},
	{pkcs11.CKA_OTP_SERVICE_LOGO_TYPE, 0, empty, nil},
}

// stateful is what the standard demands of private keys whose every signature uses up a part of them.
var stateful = []row{
	{pkcs11.CKA_SENSITIVE, settable | stickyTrue | guard, yes, only(true)},
	{pkcs11.CKA_EXTRACTABLE, settable | stickyFalse | guard, no, only(false)},
	{pkcs11.CKA_COPYABLE, settable | stickyFalse | guard, no, only(false)},
	{pkcs11.CKA_HSS_KEYS_REMAINING, byToken, nil, nil},
	{pkcs11.CKA_VALUE, keySecret, nil, nil},
}

// certificates of all types
var certificate = []row{
	{pkcs11.CKA_CERTIFICATE_TYPE, createMust, nil, nil},
	{pkcs11.CKA_TRUSTED, settable | soOnly | guard, no, nil},
	{pkcs11.CKA_CERTIFICATE_CATEGORY, 0, zero, upTo(pkcs11.CK_CERTIFICATE_CATEGORY_OTHER_ENTITY)},
	{pkcs11.CKA_CHECK_VALUE, settable | derived | clearable, nil, nil},
	{pkcs11.CKA_START_DATE, 0, empty, nil},
	{pkcs11.CKA_END_DATE, 0, empty, nil},
	{pkcs11.CKA_PUBLIC_KEY_INFO, 0, empty, nil},
}

// certificates of a key, which may be somewhere else
var keyCertificate = []row{
	{pkcs11.CKA_ISSUER, settable, empty, nil},
	{pkcs11.CKA_VALUE, either, empty, nil},
	{pkcs11.CKA_URL, either, empty, nil},
	{pkcs11.CKA_HASH_OF_SUBJECT_PUBLIC_KEY, 0, empty, nil},
	{pkcs11.CKA_HASH_OF_ISSUER_PUBLIC_KEY, 0, empty, nil},
	{pkcs11.CKA_NAME_HASH_ALGORITHM, 0, nil, nil},
}

// X.509 public key certificates. The standard wants CKA_SUBJECT at creation; where it is missing and the certificate is
// there, the material brings it.
var x509 = []row{
	{pkcs11.CKA_SUBJECT, atLast, nil, nil},
	{pkcs11.CKA_ID, settable, empty, nil},
	{pkcs11.CKA_SERIAL_NUMBER, settable, empty, nil},
	{pkcs11.CKA_JAVA_MIDP_SECURITY_DOMAIN, 0, zero, upTo(pkcs11.CK_SECURITY_DOMAIN_THIRD_PARTY)},
}

// WTLS certificates
var wtls = []row{{pkcs11.CKA_SUBJECT, createMust, nil, nil}}

// X.509 attribute certificates
var attributeCertificate = []row{
	{pkcs11.CKA_OWNER, createMust, nil, nil},
	{pkcs11.CKA_AC_ISSUER, settable, empty, nil},
	{pkcs11.CKA_SERIAL_NUMBER, settable, empty, nil},
	{pkcs11.CKA_ATTR_TYPES, settable, empty, nil},
	{pkcs11.CKA_VALUE, createMust, nil, nil},
}

// data objects.
//
// Deviation: the standard marks none of these modifiable; applications that keep state in data objects replace them.
var data = []row{
	{pkcs11.CKA_APPLICATION, settable, empty, nil},
	{pkcs11.CKA_OBJECT_ID, settable, empty, nil},
	{pkcs11.CKA_VALUE, settable, empty, nil},
}

// domain parameters of all types
var domainParameters = []row{
	{pkcs11.CKA_KEY_TYPE, createMust, nil, nil},
	{pkcs11.CKA_LOCAL, byToken, localOf, nil},
	{pkcs11.CKA_PRIME, published, nil, nil},
	{pkcs11.CKA_BASE, published, nil, nil},
	{pkcs11.CKA_PRIME_BITS, length, nil, nil},
}

// domain parameters with a subprime
var subprime = []row{
	{pkcs11.CKA_SUBPRIME, published, nil, nil},
	{pkcs11.CKA_SUBPRIME_BITS, createNever, nil, nil},
}

// trust objects
var trust = []row{
	{pkcs11.CKA_ISSUER, createMust, nil, nil},
	{pkcs11.CKA_SERIAL_NUMBER, createMust, nil, nil},
	{pkcs11.CKA_HASH_OF_CERTIFICATE, 0, empty, nil},
	{pkcs11.CKA_NAME_HASH_ALGORITHM, 0, nil, nil},
	{pkcs11.CKA_TRUST_SERVER_AUTH, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
	{pkcs11.CKA_TRUST_CLIENT_AUTH, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
	{pkcs11.CKA_TRUST_CODE_SIGNING, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
	{pkcs11.CKA_TRUST_EMAIL_PROTECTION, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
	{pkcs11.CKA_TRUST_IPSEC_IKE, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
	{pkcs11.CKA_TRUST_TIME_STAMPING, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
	{pkcs11.CKA_TRUST_OCSP_SIGNING, 0, zero, upTo(pkcs11.CKT_TRUST_MUST_VERIFY_TRUST)},
}

// objects of the token itself; Builtin makes them. The standard gives them no storage attributes. Ours have those that
// programs ask of every object that they find.
var (
	own = []row{
		{pkcs11.CKA_TOKEN, byToken, yes, nil},
		{pkcs11.CKA_PRIVATE, byToken, no, nil},
		{pkcs11.CKA_MODIFIABLE, byToken, no, nil},
		{pkcs11.CKA_COPYABLE, byToken, no, nil},
		{pkcs11.CKA_DESTROYABLE, byToken, no, nil},
		{pkcs11.CKA_LABEL, byToken, empty, nil},
	}
	hardware = []row{
		{pkcs11.CKA_HW_FEATURE_TYPE, byToken, nil, nil},
		{pkcs11.CKA_VALUE, byToken, nil, nil}, // computed anew each time that it is read
	}
	counter = []row{
		{pkcs11.CKA_RESET_ON_INIT, byToken, nil, nil},
		{pkcs11.CKA_HAS_RESET, byToken, nil, nil},
	}
	profile    = []row{{pkcs11.CKA_PROFILE_ID, byToken, nil, nil}}
	mechanism  = []row{{pkcs11.CKA_MECHANISM_TYPE, byToken, nil, nil}}
	validation = []row{
		{pkcs11.CKA_VALIDATION_TYPE, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_VERSION, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_LEVEL, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_MODULE_ID, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_FLAG, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_AUTHORITY_TYPE, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_COUNTRY, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_CERTIFICATE_IDENTIFIER, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_CERTIFICATE_URI, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_VENDOR_URI, byToken, nil, nil},
		{pkcs11.CKA_VALIDATION_PROFILE, byToken, nil, nil},
	}
)
