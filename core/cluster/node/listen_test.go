package node

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc/credentials"
)

// TestAProgramThatHasEndedIsNoWarning: it may have ended while it still connected. What is no TLS is told.
func TestAProgramThatHasEndedIsNoWarning(t *testing.T) {
	for name, c := range map[string]struct {
		sends string
		told  int
	}{
		"it hangs up":           {"", 0},
		"it hangs up in a word": {"\x16\x03\x01", 0},
		"it speaks HTTP":        {"GET / HTTP/1.0\r\n\r\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			near, far := net.Pipe()
			go func() {
				far.Write([]byte(c.sends))
				far.Close()
			}()
			of := tlsCredentials{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), holder: func(credentials.TLSInfo) string { return "" },
				log: func(format string, args ...any) { told = append(told, fmt.Errorf(format, args...).Error()) }}
			if _, _, err := of.ServerHandshake(near); err == nil {
				t.Fatal("that was a TLS connection")
			}
			if len(told) != c.told {
				t.Errorf("told %q", told)
			}
		})
	}
}
