package vault

// NewVerifier returns a blob by which VerifyPIN knows the PIN: random bytes, wrapped as a root is. It opens nothing and
// serves where the root is held already. The label, for instance a user's, is bound in. ErrKDF for a cost out of bounds.
//
// Unlike WrapRoot and UnwrapRoot, neither collects the garbage of the whole process: that process holds many keys, and
// others wait for it.
func NewVerifier(pin []byte, kdf KDF, l Label) ([]byte, error) {
	nothing, err := NewRoot()
	if err != nil {
		return nil, err
	}
	defer nothing.Zero()
	return wrap(nothing, pin, kdf, l)
}

// VerifyPIN returns nil for the PIN and label of the verifier; ErrWrongPIN, ErrSealVersion and ErrSealBroken as UnwrapRoot.
func VerifyPIN(verifier, pin []byte, l Label) error {
	nothing, _, err := unwrap(verifier, pin, l)
	nothing.Zero()
	return err
}
