package engine

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// A mechanism is tested when it is first used, in row. Under a policy with FIPS set all that the policy leaves are tested
// before the token is there.

// testAll runs the self-tests where the policy asks for FIPS. PKCS#11 v3.2, CKR_FIPS_SELF_TEST_FAILED: what C_Initialize
// answers when a power-up self-test fails.
func (e *Engine) testAll() error {
	if !e.opts.Policy.FIPS {
		return nil
	}
	for _, t := range e.opts.Mechanisms.Types() {
		if err := e.opts.Mechanisms.Mechanism(t).Ready(); err != nil {
			e.log(err)
			return pkcs11.Errorf(pkcs11.CKR_FIPS_SELF_TEST_FAILED, "%v: %v", t, err)
		}
	}
	return nil
}

// tellOnce tells the log of a mechanism that is refused because its self-test has failed, when it is first asked for.
func (e *Engine) tellOnce(t pkcs11.MechanismType, err error) {
	if _, told := e.failed.LoadOrStore(t, true); !told {
		e.log(err)
	}
}
