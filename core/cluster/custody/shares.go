package custody

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/coffer-hsm/coffer/core/secret"
)

// Shares divides the key among N people, of whom M are needed (Shamir's scheme over the scalars of ristretto255). A share
// alone tells nothing.
type Shares struct {
	N, M int
	// Give hands out the shares when the root is sealed; they stand nowhere else. Take returns as many as it can get, one
	// after the other; an empty text ends it.
	Give func(ctx context.Context, shares []string) error
	Take func(ctx context.Context, have, need int) (string, error)
	// Refused, if set, hears why a share cannot be used, and another one is asked for; without it that ends the matter.
	Refused func(error)
}

const (
	shareFamily   = "coffer-share-"
	sharePrefix   = shareFamily + "1-"
	shareChecksum = 4
	shareInfo     = "coffer/share/1"
	shareSet      = 4  // bytes that tell one sealing's shares from another's
	shareScalar   = 32 // bytes of a scalar of the group
	shareSize     = shareSet + 1 + 1 + shareScalar + shareChecksum
	shareDigits   = (shareSize*8 + 4) / 5 // of base32
	maxShares     = 255
)

// The scalars of ristretto255 are computed with in constant time, those of the NIST curves are not.
var shareGroup = group.Ristretto255

var shareCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (Shares) name() string    { return "shares" }
func (Shares) guessable() bool { return false }

func (s Shares) wrap(ctx context.Context, _ Binding) (*secret.Bytes, []byte, error) {
	if s.M < 2 || s.N < s.M || s.N > maxShares {
		return nil, nil, fmt.Errorf("%d of %d shares cannot be; at least 2 must be needed, and no more than there are", s.M, s.N)
	}
	scalar := shareGroup.RandomNonZeroScalar(rand.Reader)
	key, err := shareKey(scalar)
	if err != nil {
		return nil, nil, err
	}
	set := make([]byte, shareSet)
	rand.Read(set)
	var list []string
	for i, share := range secretsharing.New(rand.Reader, uint(s.M-1), scalar).Share(uint(s.N)) {
		text, err := shareText(set, s.M, i+1, share.Value)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, text)
	}
	if err := s.Give(ctx, list); err != nil {
		key.Zero()
		return nil, nil, err
	}
	return key, append([]byte{byte(s.M), byte(s.N)}, set...), nil
}

func (s Shares) unwrap(ctx context.Context, _ Binding, kept []byte) (*secret.Bytes, error) {
	if len(kept) != 2+shareSet || kept[0] < 2 {
		return nil, ErrDamaged
	}
	need, set := int(kept[0]), kept[2:]
	var shares []secretsharing.Share
	seen := map[int]bool{}
	for len(shares) < need {
		text, err := s.Take(ctx, len(shares), need)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%d shares are needed, and %d were given; ask more of the people who keep them", need, len(shares))
		}
		p, err := parseShare(text)
		switch {
		case err != nil:
		case p.set != [shareSet]byte(set) || p.need != need:
			err = fmt.Errorf("share %d is of another sealing; use those that were made with this root", p.index)
		case seen[p.index]:
			err = fmt.Errorf("share %d was given twice; %d different ones are needed", p.index, need)
		}
		if err != nil && s.Refused == nil {
			return nil, err
		}
		if err != nil {
			s.Refused(err)
			continue
		}
		seen[p.index] = true
		shares = append(shares, secretsharing.Share{ID: shareGroup.NewScalar().SetUint64(uint64(p.index)), Value: p.value})
	}
	scalar, err := secretsharing.Recover(uint(need-1), shares)
	if err != nil {
		return nil, fmt.Errorf("the shares do not go together: %w", err)
	}
	return shareKey(scalar)
}

func shareKey(s group.Scalar) (*secret.Bytes, error) {
	b, err := s.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(b)
	key, err := hkdf.Key(sha256.New, b, nil, shareInfo, keySize)
	return secret.Take(key), err
}

// parsed is a share's text, read.
type parsed struct {
	set   [shareSet]byte
	need  int
	index int // from 1: the place at which the polynomial has the value
	value group.Scalar
}

// shareText writes a share for a person to keep: the set, how many are needed, which one it is, the scalar and a
// checksum. The version in the prefix stands for the group.
func shareText(set []byte, m, index int, s group.Scalar) (string, error) {
	value, err := s.MarshalBinary()
	if err != nil {
		return "", err
	}
	defer secret.Wipe(value)
	raw := slices.Concat(set, []byte{byte(m), byte(index)}, value)
	defer secret.Wipe(raw)
	sum := sha256.Sum256(raw)
	whole := slices.Concat(raw, sum[:shareChecksum])
	defer secret.Wipe(whole)
	return sharePrefix + shareCoding.EncodeToString(whole), nil
}

// parseShare reads what shareText has written, in whatever case and with blanks around it.
func parseShare(text string) (p parsed, err error) {
	body, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), sharePrefix)
	switch {
	case !ok && strings.HasPrefix(body, shareFamily):
		return p, errors.New("a share is of a later version; use the program that the cluster has")
	case !ok:
		return p, fmt.Errorf("this is no share; a share begins with %s", sharePrefix)
	case len(body) < shareDigits:
		return p, fmt.Errorf("a share is cut off: it has %d characters after %s, and %d are expected", len(body), sharePrefix, shareDigits)
	}
	raw, err := shareCoding.DecodeString(body)
	if err != nil || len(raw) != shareSize || shareCoding.EncodeToString(raw) != body {
		return p, errors.New("a share is mistyped; it has letters from a to z and digits from 2 to 7 in one line")
	}
	defer secret.Wipe(raw)
	content := raw[:shareSize-shareChecksum]
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:shareChecksum], raw[len(content):]) {
		return p, errors.New("a share is mistyped: its checksum is wrong; compare it letter by letter")
	}
	p.need, p.index, p.value = int(content[shareSet]), int(content[shareSet+1]), shareGroup.NewScalar()
	copy(p.set[:], content)
	if p.need < 2 || p.index < 1 || p.value.UnmarshalBinary(content[shareSet+2:]) != nil {
		return p, errors.New("a share is damaged, though its checksum is right; use another one")
	}
	return p, nil
}
