package interop

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// program is the least Windows program: one section of code, which returns 0.
func program(t *testing.T) []byte {
	t.Helper()
	const file, memory = 0x200, 0x1000 // alignments
	code := []byte{0x31, 0xc0, 0xc3}   // xor eax, eax; ret
	le := binary.LittleEndian
	var b bytes.Buffer
	dos := make([]byte, 0x40)
	copy(dos, "MZ")
	le.PutUint32(dos[0x3c:], 0x40) // where the next header is
	b.Write(dos)
	b.WriteString("PE\x00\x00")
	for _, header := range []any{
		pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(pe.OptionalHeader64{})),
			Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE},
		pe.OptionalHeader64{Magic: 0x20b, SizeOfCode: file, AddressOfEntryPoint: memory, BaseOfCode: memory, ImageBase: 0x140000000,
			SectionAlignment: memory, FileAlignment: file, MajorOperatingSystemVersion: 6, MajorSubsystemVersion: 6, SizeOfImage: 2 * memory,
			SizeOfHeaders: file, Subsystem: pe.IMAGE_SUBSYSTEM_WINDOWS_CUI, SizeOfStackReserve: 1 << 20, SizeOfStackCommit: memory,
			SizeOfHeapReserve: 1 << 20, SizeOfHeapCommit: memory, NumberOfRvaAndSizes: 16},
		pe.SectionHeader32{Name: [8]byte{'.', 't', 'e', 'x', 't'}, VirtualSize: uint32(len(code)), VirtualAddress: memory, SizeOfRawData: file,
			PointerToRawData: file, Characteristics: pe.IMAGE_SCN_CNT_CODE | pe.IMAGE_SCN_MEM_EXECUTE | pe.IMAGE_SCN_MEM_READ},
	} {
		require.NoError(t, binary.Write(&b, le, header))
	}
	b.Write(make([]byte, file-b.Len()))
	b.Write(code)
	b.Write(make([]byte, 2*file-b.Len()))
	parsed, err := pe.NewFile(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	require.Len(t, parsed.Sections, 1)
	return b.Bytes()
}

// TestOsslsigncode: a Windows program is signed with a key in the token, by a certificate that is beside it or in a file, and
// verified without the token; a changed program is refused.
func TestOsslsigncode(t *testing.T) {
	client(t, "osslsigncode")
	k := harness.NewToken(t, "code")
	harness.Need(t, "osslsigncode")
	exe := program(t)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "program.exe"), exe, 0o600))
	for _, c := range []struct{ typ, hash string }{{"rsa:3072", "sha256"}, {"rsa:2048", "sha512"}, {"ec:p256", "sha256"}, {"ec:p384", "sha384"}} {
		t.Run(c.typ, func(t *testing.T) {
			label := strings.ReplaceAll(c.typ, ":", "-")
			generate(t, k, c.typ, label)
			uri := engineURI("code", label)
			script(t, k, `openssl req -new -x509 -days 2 -subj "/CN=$LABEL" -addext extendedKeyUsage=codeSigning -addext keyUsage=digitalSignature \
	-engine pkcs11 -keyform engine -key "$KEY" -out cert.pem`, append(engineConf(t, k), "KEY="+uri, "LABEL="+label)...)
			k.Run(t, harness.Coffer(t), "key", "import", "cert.pem", "--label", label)
			for _, from := range []string{"-certs cert.pem", `-pkcs11cert "$CERT"`} {
				out := script(t, k, `rm -f signed.exe
osslsigncode sign -pkcs11module "$MODULE" `+from+` -key "$KEY" -h "$HASH" -n "a program" -in program.exe -out signed.exe
osslsigncode verify -CAfile cert.pem -in signed.exe`,
					"KEY="+uri, "HASH="+c.hash, "CERT=pkcs11:token=code;object="+label+";type=cert;pin-value="+harness.UserPIN)
				require.Contains(t, out, "Succeeded")
				require.Contains(t, out, "Signature verification: ok")
			}
			signed, err := os.ReadFile(filepath.Join(k.Dir, "signed.exe"))
			require.NoError(t, err)
			parsed, err := pe.NewFile(bytes.NewReader(signed))
			require.NoError(t, err)
			where := parsed.OptionalHeader.(*pe.OptionalHeader64).DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY]
			require.Equal(t, uint32(len(exe)), where.VirtualAddress, "the signature is behind the program")
			signed[0x200]++
			require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "changed.exe"), signed, 0o600))
			b, err := k.Command(t, "osslsigncode", "verify", "-CAfile", "cert.pem", "-in", "changed.exe").CombinedOutput()
			require.Error(t, err, fmt.Sprintf("%s", b))
		})
	}
}
