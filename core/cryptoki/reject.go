package cryptoki

import "github.com/coffer-hsm/coffer/core/hsm"

// ends says which operations a function ends when it fails. Functions that are not here end none.
var ends = map[string][]hsm.OpKind{
	"Encrypt":               {hsm.OpEncrypt},
	"EncryptUpdate":         {hsm.OpEncrypt},
	"EncryptFinal":          {hsm.OpEncrypt},
	"Decrypt":               {hsm.OpDecrypt},
	"DecryptUpdate":         {hsm.OpDecrypt},
	"DecryptFinal":          {hsm.OpDecrypt},
	"Digest":                {hsm.OpDigest},
	"DigestUpdate":          {hsm.OpDigest},
	"DigestKey":             {hsm.OpDigest},
	"DigestFinal":           {hsm.OpDigest},
	"Sign":                  {hsm.OpSign},
	"SignUpdate":            {hsm.OpSign},
	"SignFinal":             {hsm.OpSign},
	"SignRecover":           {hsm.OpSignRecover},
	"Verify":                {hsm.OpVerify},
	"VerifyUpdate":          {hsm.OpVerify},
	"VerifyFinal":           {hsm.OpVerify},
	"VerifyRecover":         {hsm.OpVerifyRecover},
	"VerifySignature":       {opVerifySignature},
	"VerifySignatureUpdate": {opVerifySignature},
	"VerifySignatureFinal":  {opVerifySignature},
	"DigestEncryptUpdate":   {hsm.OpDigest, hsm.OpEncrypt},
	"DecryptDigestUpdate":   {hsm.OpDecrypt, hsm.OpDigest},
	"SignEncryptUpdate":     {hsm.OpSign, hsm.OpEncrypt},
	"DecryptVerifyUpdate":   {hsm.OpDecrypt, hsm.OpVerify},
}

// sessionless is the functions that take no session.
var sessionless = map[string]bool{
	"Finalize":         true,
	"GetInfo":          true,
	"GetSlotList":      true,
	"GetSlotInfo":      true,
	"GetTokenInfo":     true,
	"WaitForSlotEvent": true,
	"GetMechanismList": true,
	"GetMechanismInfo": true,
	"InitToken":        true,
	"OpenSession":      true,
	"CloseAllSessions": true,
}

// early is the functions that may be called before C_Initialize.
var early = map[string]bool{
	"Initialize":       true,
	"GetFunctionList":  true,
	"GetInterfaceList": true,
	"GetInterface":     true,
}

// Reject answers a call of function whose arguments could not be decoded: what is wrong with the session comes first,
// else the call ends the operations that it would have ended on any error, and err is its answer. h does not matter for
// functions that take no session.
func (l *Library) Reject(function string, h SessionHandle, err error) error {
	if early[function] {
		l.log(function, err)
		return err
	}
	if sessionless[function] {
		r, notInitialized := l.current()
		if notInitialized != nil {
			return notInitialized
		}
		return l.answer(function, r, err)
	}
	return l.inSession(function, h, func(x *session) error {
		for _, kind := range ends[function] {
			x.cancel(kind)
		}
		if f := messageFunctions[function]; f.ends {
			if p := x.process(f.kind); p != nil && p.begun {
				p.endMessage()
			}
		}
		return err
	})
}
