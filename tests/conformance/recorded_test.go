package conformance

import (
	"reflect"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// recorded is a module with a recorder in front.
type recorded struct {
	Module
	r *recorder
}

// functionNames are the functions of a Module.
func functionNames() []string {
	t := reflect.TypeFor[Module]()
	names := make([]string, t.NumMethod())
	for i := range names {
		names[i] = t.Method(i).Name
	}
	return names
}

func (x *recorded) Initialize(args *cryptoki.InitArgs) error {
	return x.r.saw("Initialize", x.Module.Initialize(args))
}

func (x *recorded) Finalize(reserved bool) error {
	return x.r.saw("Finalize", x.Module.Finalize(reserved))
}

func (x *recorded) GetInfo() (pkcs11.Info, error) {
	v, err := x.Module.GetInfo()
	return v, x.r.saw("GetInfo", err)
}

func (x *recorded) GetSlotList(tokenPresent bool) ([]cryptoki.SlotID, error) {
	v, err := x.Module.GetSlotList(tokenPresent)
	return v, x.r.saw("GetSlotList", err)
}

func (x *recorded) GetSlotInfo(id cryptoki.SlotID) (pkcs11.SlotInfo, error) {
	v, err := x.Module.GetSlotInfo(id)
	return v, x.r.saw("GetSlotInfo", err)
}

func (x *recorded) GetTokenInfo(id cryptoki.SlotID) (pkcs11.TokenInfo, error) {
	v, err := x.Module.GetTokenInfo(id)
	return v, x.r.saw("GetTokenInfo", err)
}

func (x *recorded) GetMechanismList(id cryptoki.SlotID) ([]pkcs11.MechanismType, error) {
	v, err := x.Module.GetMechanismList(id)
	return v, x.r.saw("GetMechanismList", err)
}

func (x *recorded) GetMechanismInfo(id cryptoki.SlotID, m pkcs11.MechanismType) (pkcs11.MechanismInfo, error) {
	v, err := x.Module.GetMechanismInfo(id, m)
	return v, x.r.saw("GetMechanismInfo", err)
}

func (x *recorded) InitToken(id cryptoki.SlotID, soPIN []byte, label string) error {
	return x.r.saw("InitToken", x.Module.InitToken(id, soPIN, label))
}

func (x *recorded) InitPIN(h session, pin []byte) error {
	return x.r.saw("InitPIN", x.Module.InitPIN(h, pin))
}

func (x *recorded) SetPIN(h session, oldPIN, newPIN []byte) error {
	return x.r.saw("SetPIN", x.Module.SetPIN(h, oldPIN, newPIN))
}

func (x *recorded) OpenSession(id cryptoki.SlotID, flags pkcs11.Flags) (session, error) {
	v, err := x.Module.OpenSession(id, flags)
	return v, x.r.saw("OpenSession", err)
}

func (x *recorded) CloseSession(h session) error {
	return x.r.saw("CloseSession", x.Module.CloseSession(h))
}

func (x *recorded) CloseAllSessions(id cryptoki.SlotID) error {
	return x.r.saw("CloseAllSessions", x.Module.CloseAllSessions(id))
}

func (x *recorded) GetSessionInfo(h session) (pkcs11.SessionInfo, error) {
	v, err := x.Module.GetSessionInfo(h)
	return v, x.r.saw("GetSessionInfo", err)
}

func (x *recorded) GetOperationState(h session, state *out) error {
	return x.r.saw("GetOperationState", x.Module.GetOperationState(h, state))
}

func (x *recorded) SetOperationState(h session, state []byte, encryption, authentication handle) error {
	return x.r.saw("SetOperationState", x.Module.SetOperationState(h, state, encryption, authentication))
}

func (x *recorded) Login(h session, user pkcs11.UserType, pin []byte) error {
	return x.r.saw("Login", x.Module.Login(h, user, pin))
}

func (x *recorded) Logout(h session) error {
	return x.r.saw("Logout", x.Module.Logout(h))
}

func (x *recorded) CreateObject(h session, template T) (handle, error) {
	v, err := x.Module.CreateObject(h, template)
	return v, x.r.saw("CreateObject", err)
}

func (x *recorded) CopyObject(h session, o handle, template T) (handle, error) {
	v, err := x.Module.CopyObject(h, o, template)
	return v, x.r.saw("CopyObject", err)
}

func (x *recorded) DestroyObject(h session, o handle) error {
	return x.r.saw("DestroyObject", x.Module.DestroyObject(h, o))
}

func (x *recorded) GetObjectSize(h session, o handle) (uint, error) {
	v, err := x.Module.GetObjectSize(h, o)
	return v, x.r.saw("GetObjectSize", err)
}

func (x *recorded) GetAttributeValue(h session, o handle, types []pkcs11.AttributeType) ([]hsm.Value, error) {
	v, err := x.Module.GetAttributeValue(h, o, types)
	return v, x.r.saw("GetAttributeValue", err)
}

func (x *recorded) SetAttributeValue(h session, o handle, template T) error {
	return x.r.saw("SetAttributeValue", x.Module.SetAttributeValue(h, o, template))
}

func (x *recorded) FindObjectsInit(h session, template T) error {
	return x.r.saw("FindObjectsInit", x.Module.FindObjectsInit(h, template))
}

func (x *recorded) FindObjects(h session, max int) ([]handle, error) {
	v, err := x.Module.FindObjects(h, max)
	return v, x.r.saw("FindObjects", err)
}

func (x *recorded) FindObjectsFinal(h session) error {
	return x.r.saw("FindObjectsFinal", x.Module.FindObjectsFinal(h))
}

func (x *recorded) EncryptInit(h session, m *mech, key handle) error {
	return x.r.began("EncryptInit", h, pkcs11.CKF_ENCRYPT, m, x.Module.EncryptInit(h, m, key))
}

func (x *recorded) Encrypt(h session, data []byte, encrypted *out) error {
	return x.r.ended("Encrypt", h, pkcs11.CKF_ENCRYPT, encrypted, x.Module.Encrypt(h, data, encrypted))
}

func (x *recorded) EncryptUpdate(h session, part []byte, encrypted *out) error {
	return x.r.saw("EncryptUpdate", x.Module.EncryptUpdate(h, part, encrypted))
}

func (x *recorded) EncryptFinal(h session, encrypted *out) error {
	return x.r.ended("EncryptFinal", h, pkcs11.CKF_ENCRYPT, encrypted, x.Module.EncryptFinal(h, encrypted))
}

func (x *recorded) DecryptInit(h session, m *mech, key handle) error {
	return x.r.began("DecryptInit", h, pkcs11.CKF_DECRYPT, m, x.Module.DecryptInit(h, m, key))
}

func (x *recorded) Decrypt(h session, encrypted []byte, data *out) error {
	return x.r.ended("Decrypt", h, pkcs11.CKF_DECRYPT, data, x.Module.Decrypt(h, encrypted, data))
}

func (x *recorded) DecryptUpdate(h session, part []byte, data *out) error {
	return x.r.saw("DecryptUpdate", x.Module.DecryptUpdate(h, part, data))
}

func (x *recorded) DecryptFinal(h session, data *out) error {
	return x.r.ended("DecryptFinal", h, pkcs11.CKF_DECRYPT, data, x.Module.DecryptFinal(h, data))
}

func (x *recorded) DigestInit(h session, m *mech) error {
	return x.r.began("DigestInit", h, pkcs11.CKF_DIGEST, m, x.Module.DigestInit(h, m))
}

func (x *recorded) Digest(h session, data []byte, digest *out) error {
	return x.r.ended("Digest", h, pkcs11.CKF_DIGEST, digest, x.Module.Digest(h, data, digest))
}

func (x *recorded) DigestUpdate(h session, part []byte) error {
	return x.r.saw("DigestUpdate", x.Module.DigestUpdate(h, part))
}

func (x *recorded) DigestKey(h session, key handle) error {
	return x.r.saw("DigestKey", x.Module.DigestKey(h, key))
}

func (x *recorded) DigestFinal(h session, digest *out) error {
	return x.r.ended("DigestFinal", h, pkcs11.CKF_DIGEST, digest, x.Module.DigestFinal(h, digest))
}

func (x *recorded) DigestEncryptUpdate(h session, part []byte, encrypted *out) error {
	return x.r.saw("DigestEncryptUpdate", x.Module.DigestEncryptUpdate(h, part, encrypted))
}

func (x *recorded) DecryptDigestUpdate(h session, part []byte, data *out) error {
	return x.r.saw("DecryptDigestUpdate", x.Module.DecryptDigestUpdate(h, part, data))
}

func (x *recorded) SignEncryptUpdate(h session, part []byte, encrypted *out) error {
	return x.r.saw("SignEncryptUpdate", x.Module.SignEncryptUpdate(h, part, encrypted))
}

func (x *recorded) DecryptVerifyUpdate(h session, part []byte, data *out) error {
	return x.r.saw("DecryptVerifyUpdate", x.Module.DecryptVerifyUpdate(h, part, data))
}

func (x *recorded) SignInit(h session, m *mech, key handle) error {
	return x.r.began("SignInit", h, pkcs11.CKF_SIGN, m, x.Module.SignInit(h, m, key))
}

func (x *recorded) Sign(h session, data []byte, signature *out) error {
	return x.r.ended("Sign", h, pkcs11.CKF_SIGN, signature, x.Module.Sign(h, data, signature))
}

func (x *recorded) SignUpdate(h session, part []byte) error {
	return x.r.saw("SignUpdate", x.Module.SignUpdate(h, part))
}

func (x *recorded) SignFinal(h session, signature *out) error {
	return x.r.ended("SignFinal", h, pkcs11.CKF_SIGN, signature, x.Module.SignFinal(h, signature))
}

func (x *recorded) SignRecoverInit(h session, m *mech, key handle) error {
	return x.r.began("SignRecoverInit", h, pkcs11.CKF_SIGN_RECOVER, m, x.Module.SignRecoverInit(h, m, key))
}

func (x *recorded) SignRecover(h session, data []byte, signature *out) error {
	return x.r.ended("SignRecover", h, pkcs11.CKF_SIGN_RECOVER, signature, x.Module.SignRecover(h, data, signature))
}

func (x *recorded) VerifyInit(h session, m *mech, key handle) error {
	return x.r.began("VerifyInit", h, pkcs11.CKF_VERIFY, m, x.Module.VerifyInit(h, m, key))
}

func (x *recorded) Verify(h session, data, signature []byte) error {
	return x.r.ended("Verify", h, pkcs11.CKF_VERIFY, nil, x.Module.Verify(h, data, signature))
}

func (x *recorded) VerifyUpdate(h session, part []byte) error {
	return x.r.saw("VerifyUpdate", x.Module.VerifyUpdate(h, part))
}

func (x *recorded) VerifyFinal(h session, signature []byte) error {
	return x.r.ended("VerifyFinal", h, pkcs11.CKF_VERIFY, nil, x.Module.VerifyFinal(h, signature))
}

func (x *recorded) VerifyRecoverInit(h session, m *mech, key handle) error {
	return x.r.began("VerifyRecoverInit", h, pkcs11.CKF_VERIFY_RECOVER, m, x.Module.VerifyRecoverInit(h, m, key))
}

func (x *recorded) VerifyRecover(h session, signature []byte, data *out) error {
	return x.r.ended("VerifyRecover", h, pkcs11.CKF_VERIFY_RECOVER, data, x.Module.VerifyRecover(h, signature, data))
}

func (x *recorded) GenerateKey(h session, m *mech, template T) (handle, error) {
	v, err := x.Module.GenerateKey(h, m, template)
	return v, x.r.did("GenerateKey", pkcs11.CKF_GENERATE, m, nil, err)
}

func (x *recorded) GenerateKeyPair(h session, m *mech, public, private T) (pub, priv handle, err error) {
	pub, priv, err = x.Module.GenerateKeyPair(h, m, public, private)
	return pub, priv, x.r.did("GenerateKeyPair", pkcs11.CKF_GENERATE_KEY_PAIR, m, nil, err)
}

func (x *recorded) WrapKey(h session, m *mech, wrapping, key handle, wrapped *out) error {
	return x.r.did("WrapKey", pkcs11.CKF_WRAP, m, wrapped, x.Module.WrapKey(h, m, wrapping, key, wrapped))
}

func (x *recorded) UnwrapKey(h session, m *mech, unwrapping handle, wrapped []byte, template T) (handle, error) {
	v, err := x.Module.UnwrapKey(h, m, unwrapping, wrapped, template)
	return v, x.r.did("UnwrapKey", pkcs11.CKF_UNWRAP, m, nil, err)
}

func (x *recorded) DeriveKey(h session, m *mech, base handle, template T) (handle, error) {
	v, err := x.Module.DeriveKey(h, m, base, template)
	return v, x.r.did("DeriveKey", pkcs11.CKF_DERIVE, m, nil, err)
}

func (x *recorded) SeedRandom(h session, seed []byte) error {
	return x.r.saw("SeedRandom", x.Module.SeedRandom(h, seed))
}

func (x *recorded) GenerateRandom(h session, p []byte) error {
	return x.r.saw("GenerateRandom", x.Module.GenerateRandom(h, p))
}

func (x *recorded) LoginUser(h session, user pkcs11.UserType, pin, name []byte) error {
	return x.r.saw("LoginUser", x.Module.LoginUser(h, user, pin, name))
}

func (x *recorded) SessionCancel(h session, flags pkcs11.Flags) error {
	return x.r.saw("SessionCancel", x.Module.SessionCancel(h, flags))
}

func (x *recorded) VerifySignatureInit(h session, m *mech, key handle, signature []byte) error {
	return x.r.saw("VerifySignatureInit", x.Module.VerifySignatureInit(h, m, key, signature))
}

func (x *recorded) VerifySignature(h session, data []byte) error {
	return x.r.saw("VerifySignature", x.Module.VerifySignature(h, data))
}

func (x *recorded) VerifySignatureUpdate(h session, part []byte) error {
	return x.r.saw("VerifySignatureUpdate", x.Module.VerifySignatureUpdate(h, part))
}

func (x *recorded) VerifySignatureFinal(h session) error {
	return x.r.saw("VerifySignatureFinal", x.Module.VerifySignatureFinal(h))
}
