package node

import (
	"errors"
	"io"

	"google.golang.org/grpc/encoding/gzip"
)

// noGzip is what a listener does with compressed messages in the place of gRPC's own gzip, which etcd's packages bring into the
// process. The protocol has no compression (docs/wire-format.md), and what a client sends would become a thousand times as long.
type noGzip struct{}

var errCompressed = errors.New("compressed messages are not taken")

// Do implements grpc.Decompressor, as does Type.
func (noGzip) Do(io.Reader) ([]byte, error) { return nil, errCompressed }
func (noGzip) Type() string                 { return gzip.Name }
