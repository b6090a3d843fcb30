package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Codec returns gRPC's own codec of protobuf with one check before it: a message of more than MaxElements fields, or one
// that nests without end, is refused before memory is given to it. In Go an empty field of two bytes becomes a struct
// of fifty times that, so that the length of a message is no bound for what it costs. A server takes it with
// grpc.ForceServerCodecV2; what a node answers needs no such bound.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(grpcproto.Name)} }

type codec struct{ encoding.CodecV2 }

// Unmarshal decodes what has come from a client.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	c, counted := v.(*Counted)
	if !counted {
		m, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("wire: %T is no message", v)
		}
		c = &Counted{Message: m}
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return c.Unmarshal(buf.ReadOnlyData())
}

// Unmarshal is proto.Unmarshal with the check of Codec.
func Unmarshal(b []byte, m proto.Message) error { return (&Counted{Message: m}).Unmarshal(b) }

// Counted is a message for who holds many and must know what they cost: it may be given to a stream's RecvMsg.
type Counted struct {
	Message  proto.Message
	Elements int // that have come, as MaxElements counts them
	Size     int // in bytes
}

// Unmarshal is proto.Unmarshal with the check of Codec. It sets Elements and Size.
func (m *Counted) Unmarshal(b []byte) error {
	c := counter{left: MaxElements}
	if err := c.message(b, m.Message.ProtoReflect().Descriptor(), maxNesting); err != nil {
		return err
	}
	m.Elements, m.Size = MaxElements-c.left, len(b)
	return proto.Unmarshal(b, m.Message)
}

// maxNesting is how deep messages may be inside one another: a template inside a template takes two, and what a later
// version adds some.
const maxNesting = 2*MaxDepth + 8

// counter counts the elements of an encoded message without making anything of them.
type counter struct{ left int }

func (c *counter) message(b []byte, d protoreflect.MessageDescriptor, depth int) error {
	if depth == 0 {
		return fmt.Errorf("wire: messages nest deeper than %d", maxNesting)
	}
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		field := d.Fields().ByNumber(number)
		if n = protowire.ConsumeFieldValue(number, typ, b); n < 0 {
			return protowire.ParseError(n)
		}
		if err := c.count(1); err != nil {
			return err
		}
		if field != nil && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[:n])
			if err := c.value(v, field, depth); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}

// value counts what is inside a field that has a length: a message, or a list of numbers.
func (c *counter) value(v []byte, field protoreflect.FieldDescriptor, depth int) error {
	switch {
	case field.Message() != nil:
		return c.message(v, field.Message(), depth-1)
	case field.IsList() && field.Kind() != protoreflect.StringKind && field.Kind() != protoreflect.BytesKind:
		numbers := 0
		for _, x := range v {
			if x < 0x80 { // the last byte of each
				numbers++
			}
		}
		return c.count(numbers)
	}
	return nil
}

func (c *counter) count(n int) error {
	if c.left -= n; c.left < 0 {
		return fmt.Errorf("wire: a message of more than %d elements", MaxElements)
	}
	return nil
}
