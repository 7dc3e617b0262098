package ledger

import (
	"encoding/binary"
	"errors"
	"math"
)

// encodeMembers packs ascending recipient ids, all above 0, as runs: gap and length, each a
// varint. A batch as it was planned is one run of a few bytes.
func encodeMembers(ids []int64) []byte {
	var (
		out  []byte
		last int64
	)
	for i := 0; i < len(ids); {
		j := i + 1
		for j < len(ids) && ids[j] == ids[j-1]+1 {
			j++
		}
		out = binary.AppendUvarint(out, uint64(ids[i]-last))
		out = binary.AppendUvarint(out, uint64(j-i))
		last = ids[j-1]
		i = j
	}
	return out
}

// maxMembers bounds what a damaged cell can make decodeMembers allocate.
const maxMembers = 1 << 16

// decodeMembers is the way back.
func decodeMembers(b []byte) ([]int64, error) {
	var (
		ids  []int64
		last int64
	)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 || gap == 0 || gap > math.MaxInt64-maxMembers-uint64(last) {
			return nil, errMembers
		}
		b = b[n:]
		length, n := binary.Uvarint(b)
		if n <= 0 || length == 0 || length > maxMembers-uint64(len(ids)) {
			return nil, errMembers
		}
		b = b[n:]
		first := last + int64(gap)
		for i := range int64(length) {
			ids = append(ids, first+i)
		}
		last = first + int64(length) - 1
	}
	return ids, nil
}

var errMembers = errors.New("the members of an attempt cannot be read: the ledger is damaged")
