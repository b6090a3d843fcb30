package main

import (
	"fmt"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// record builds a C struct field by field, in the compiler's layout for 64-bit Unix. zexports.c asserts the sizes.
type record []byte

func (r *record) align(n int) {
	for len(*r)%n != 0 {
		*r = append(*r, 0)
	}
}

func (r *record) ulong(v uint) {
	r.align(ulongSize)
	*r = appendUlong(*r, v)
}

func (r *record) version(v pkcs11.Version) { *r = append(*r, v.Major, v.Minor) }

// text appends UTF-8 text padded with blanks to n bytes. What is too long is cut between two characters.
func (r *record) text(s string, n int) {
	if len(s) > n {
		end := n
		for end > 0 && s[end]&0xc0 == 0x80 {
			end--
		}
		s = s[:end]
	}
	*r = append(*r, s...)
	for i := len(s); i < n; i++ {
		*r = append(*r, ' ')
	}
}

// info writes what one of the C_Get...Info functions answers.
func (c *call) info(p uintptr, value any) {
	if c.err != nil {
		return
	}
	r := record(c.room(256)[:0])
	switch v := value.(type) {
	case pkcs11.Info:
		r.version(v.CryptokiVersion)
		r.text(v.Manufacturer, 32)
		r.ulong(uint(v.Flags))
		r.text(v.Description, 32)
		r.version(v.LibraryVersion)
	case pkcs11.SlotInfo:
		r.text(v.Description, 64)
		r.text(v.Manufacturer, 32)
		r.ulong(uint(v.Flags))
		r.version(v.HardwareVersion)
		r.version(v.FirmwareVersion)
	case pkcs11.TokenInfo:
		r.token(v)
	case pkcs11.SessionInfo:
		r.ulong(v.Slot)
		r.ulong(uint(v.State))
		r.ulong(uint(v.Flags))
		r.ulong(v.DeviceError)
	case pkcs11.MechanismInfo:
		r.ulong(v.MinKeySize)
		r.ulong(v.MaxKeySize)
		r.ulong(uint(v.Flags))
	default:
		panic(fmt.Sprintf("no C struct for %T", value))
	}
	c.fail(write(p, r))
}

func (r *record) token(v pkcs11.TokenInfo) {
	r.text(v.Label, 32)
	r.text(v.Manufacturer, 32)
	r.text(v.Model, 16)
	r.text(v.Serial, 16)
	for _, n := range []uint{
		uint(v.Flags), v.MaxSessionCount, v.SessionCount, v.MaxRwSessionCount, v.RwSessionCount, v.MaxPinLen, v.MinPinLen,
		v.TotalPublicMemory, v.FreePublicMemory, v.TotalPrivateMemory, v.FreePrivateMemory,
	} {
		r.ulong(n)
	}
	r.version(v.HardwareVersion)
	r.version(v.FirmwareVersion)
	r.text(v.UTCTime, 16)
}
