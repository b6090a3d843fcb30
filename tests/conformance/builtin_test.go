package conformance

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// ownClasses are the classes of the token's own objects.
var ownClasses = []pkcs11.ObjectClass{pkcs11.CKO_HW_FEATURE, pkcs11.CKO_MECHANISM, pkcs11.CKO_PROFILE, pkcs11.CKO_VALIDATION}

func feature(f pkcs11.HWFeatureType) T {
	return with(num(pkcs11.CKA_CLASS, pkcs11.CKO_HW_FEATURE), num(pkcs11.CKA_HW_FEATURE_TYPE, f))
}

// TestOwnObjectsAreThereForWhoAsks, with and without a login, in a read-only session too; and for nobody else.
func TestOwnObjectsAreThereForWhoAsks(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		look := func(h session) {
			for _, c := range []struct {
				template T
				want     int
			}{
				{num(pkcs11.CKA_CLASS, pkcs11.CKO_HW_FEATURE), 2},
				{with(num(pkcs11.CKA_CLASS, pkcs11.CKO_HW_FEATURE), yes(pkcs11.CKA_TOKEN)), 2},
				{with(num(pkcs11.CKA_CLASS, pkcs11.CKO_HW_FEATURE), no(pkcs11.CKA_TOKEN)), 0},
				{feature(pkcs11.CKH_CLOCK), 1},
				{feature(pkcs11.CKH_MONOTONIC_COUNTER), 1},
				{feature(pkcs11.CKH_USER_INTERFACE), 0},
				{num(pkcs11.CKA_HW_FEATURE_TYPE, pkcs11.CKH_CLOCK), 0}, // the class is not asked for
				{num(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE), 3},
				{num(pkcs11.CKA_CLASS, pkcs11.CKO_VALIDATION), 0}, // in FIPS mode only
			} {
				require.Len(t, e.find(t, h, c.template), c.want, "%v", c.template)
			}
			list, err := e.GetMechanismList(e.slot)
			require.NoError(t, err)
			var told []pkcs11.MechanismType
			for _, o := range e.find(t, h, num(pkcs11.CKA_CLASS, pkcs11.CKO_MECHANISM)) {
				told = append(told, pkcs11.MechanismType(e.value(t, h, o, pkcs11.CKA_MECHANISM_TYPE).(uint)))
			}
			require.Equal(t, list, told)
			for _, template := range []T{nil, yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_PRIVATE)} {
				for _, o := range e.find(t, h, template) {
					class := pkcs11.ObjectClass(e.value(t, h, o, pkcs11.CKA_CLASS).(uint))
					require.False(t, slices.Contains(ownClasses, class), "a %v was found by %v", class, template)
				}
			}
		}
		e.nobody(t)
		look(e.open(t, 0))
		h := e.user(t)
		look(h)
	})
}

// TestOwnObjectsCannotBeTouched, by anybody.
func TestOwnObjectsCannotBeTouched(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		ids := map[string]bool{}
		for _, class := range ownClasses {
			_, err := e.CreateObject(h, num(pkcs11.CKA_CLASS, class))
			require.Error(t, err)
			for _, o := range e.find(t, h, num(pkcs11.CKA_CLASS, class)) {
				e.has(t, h, o, with(yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_PRIVATE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_COPYABLE, pkcs11.CKA_DESTROYABLE)))
				id := string(e.value(t, h, o, pkcs11.CKA_UNIQUE_ID).([]byte))
				require.False(t, ids[id], "two objects are %s", id)
				ids[id] = true
				if class == pkcs11.CKO_MECHANISM && len(ids) > 8 {
					continue // they are all alike
				}
				rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.SetAttributeValue(h, o, text(pkcs11.CKA_LABEL, "mine")))
				_, err := e.CopyObject(h, o, nil)
				rv(t, pkcs11.CKR_ACTION_PROHIBITED, err)
				rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.DestroyObject(h, o))
				rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_ECB}, o))
				size, err := e.GetObjectSize(h, o)
				require.NoError(t, err)
				require.Positive(t, size)
			}
		}
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, second(e.CreateObject(h, with(feature(pkcs11.CKH_CLOCK)))))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, second(e.CreateObject(h, num(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE))))
	})
}

// TestClockTellsTheTime, in UTC, each time anew.
func TestClockTellsTheTime(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		clock := e.find(t, h, feature(pkcs11.CKH_CLOCK))[0]
		text := string(e.value(t, h, clock, pkcs11.CKA_VALUE).([]byte))
		require.Len(t, text, 16)
		require.Equal(t, "00", text[14:])
		at, err := time.Parse("20060102150405", text[:14])
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Minute)
	})
}

// TestCounterOnlyRises, whoever reads it, and over C_InitToken.
func TestCounterOnlyRises(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		last := uint64(0)
		read := func(h session) {
			t.Helper()
			o := e.find(t, h, feature(pkcs11.CKH_MONOTONIC_COUNTER))[0]
			b := e.value(t, h, o, pkcs11.CKA_VALUE).([]byte)
			require.Len(t, b, 8)
			n := binary.BigEndian.Uint64(b)
			require.Greater(t, n, last)
			last = n
		}
		e.has(t, h, e.find(t, h, feature(pkcs11.CKH_MONOTONIC_COUNTER))[0], no(pkcs11.CKA_RESET_ON_INIT, pkcs11.CKA_HAS_RESET))
		for range 20 {
			read(h)
		}
		e.nobody(t)
		read(e.open(t, 0))
	})
	under(t, roomy, func(t *testing.T, e *env) {
		if e.stack.Name != "mem" {
			return // a cluster's token is erased by its administrator, after its activation
		}
		read := func() uint64 {
			h := e.public(t)
			defer e.CloseSession(h)
			return binary.BigEndian.Uint64(e.value(t, h, e.find(t, h, feature(pkcs11.CKH_MONOTONIC_COUNTER))[0], pkcs11.CKA_VALUE).([]byte))
		}
		before := read()
		require.NoError(t, e.InitToken(e.slot, soPIN, "again"))
		require.Greater(t, read(), before)
	})
}

// TestProfilesAreClaimed: what each wants is tested all over this suite; here are the functions and objects that they name.
func TestProfilesAreClaimed(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		var got []pkcs11.ProfileID
		for _, o := range e.find(t, h, num(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE)) {
			got = append(got, pkcs11.ProfileID(e.value(t, h, o, pkcs11.CKA_PROFILE_ID).(uint)))
		}
		require.Equal(t, []pkcs11.ProfileID{pkcs11.CKP_BASELINE_PROVIDER, pkcs11.CKP_EXTENDED_PROVIDER, pkcs11.CKP_AUTHENTICATION_TOKEN}, got)

		// Extended Provider and Authentication Token: C_LoginUser, C_Logout, C_Sign.
		e.nobody(t)
		h = e.public(t)
		require.NoError(t, e.LoginUser(h, pkcs11.CKU_USER, userPIN, nil))
		_, priv := e.pair(t, h, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, num(pkcs11.CKA_MODULUS_BITS, uint(2048)), yes(pkcs11.CKA_SIGN))
		require.NoError(t, e.SignInit(h, &mech{Type: pkcs11.CKM_SHA256_RSA_PKCS}, priv))
		require.NoError(t, e.Sign(h, message(100), big16()))
		require.NoError(t, e.Logout(h))
	})
}
