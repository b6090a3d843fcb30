package cryptoki

// SeedRandom adds to the token's generator. PKCS#11 v3.2, C_SeedRandom.
func (l *Library) SeedRandom(h SessionHandle, seed []byte) error {
	return l.inSession("SeedRandom", h, func(x *session) error {
		return x.hsm.Seed(x.ctx, seed)
	})
}

// GenerateRandom fills p. PKCS#11 v3.2, C_GenerateRandom.
func (l *Library) GenerateRandom(h SessionHandle, p []byte) error {
	return l.inSession("GenerateRandom", h, func(x *session) error {
		return x.hsm.Random(x.ctx, p)
	})
}
