package pkcs11

var (
	_ MessageParams = (*CCMMessageParams)(nil)
	_ MessageParams = (*Poly1305MessageParams)(nil)
)

// Vector implements MessageParams.
func (p *CCMMessageParams) Vector() (iv []byte, fixed, generator uint) {
	return p.Nonce, p.NonceFixedBits, p.NonceGenerator
}

// TagSpace implements MessageParams.
func (p *CCMMessageParams) TagSpace() (tag []byte, size int) { return p.MAC, int(min(p.MACLen, 1<<30)) }

// Whole implements MessageParams. CCM knows the length of the data beforehand: of a message in parts it is the parameter's.
func (p *CCMMessageParams) Whole(associated []byte, n int) any {
	length := p.DataLen
	if n >= 0 {
		length = uint(n)
	}
	return &CCMParams{DataLen: length, Nonce: own(p.Nonce), AAD: own(associated), MACLen: p.MACLen}
}

// Sample implements MessageParams.
func (*CCMMessageParams) Sample() MessageParams {
	return &CCMMessageParams{Nonce: make([]byte, 12), MAC: make([]byte, 16), MACLen: 16}
}

// Alike leaves nonce and associated data out.
func (p *CCMParams) Alike() any {
	return &CCMParams{DataLen: p.DataLen, Nonce: make([]byte, min(len(p.Nonce), 16)), MACLen: p.MACLen}
}

// Vector implements MessageParams. There is no generator: the nonce is the caller's.
func (p *Poly1305MessageParams) Vector() (iv []byte, fixed, generator uint) {
	return p.Nonce, 0, CKG_NO_GENERATE
}

// TagSpace implements MessageParams.
func (p *Poly1305MessageParams) TagSpace() (tag []byte, size int) { return p.Tag, 16 }

// Whole implements MessageParams.
func (p *Poly1305MessageParams) Whole(associated []byte, _ int) any {
	return &Poly1305Params{Nonce: own(p.Nonce), AAD: own(associated)}
}

// Sample implements MessageParams.
func (*Poly1305MessageParams) Sample() MessageParams {
	return &Poly1305MessageParams{Nonce: make([]byte, 12), Tag: make([]byte, 16)}
}

// Alike leaves nonce and associated data out.
func (p *Poly1305Params) Alike() any {
	return &Poly1305Params{Nonce: make([]byte, min(len(p.Nonce), 32))}
}
