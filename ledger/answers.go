package ledger

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/google/uuid"

	"github.com/postrider/postrider/campaign"
)

// Said is what the provider said of one recipient.
type Said struct {
	ProviderID string
	Status     string // as the provider spelt it
	Price      campaign.Micros
	Parts      int
}

// An answer is packed into one cell, for rows of their own are the largest cost
// of sending (docs/benchmarks.md): a version, the few combinations of status,
// price and parts that its rows share, and then for each member of the attempt,
// in order, which of them it is (0: nothing was said) and the provider's id.
const answerVersion = 1

// How a provider's id is packed: as a rule it is a UUID.
const (
	idNone = iota
	idLower
	idUpper
	idText
	idKinds

	uuidLength = 36
)

type saidAlike struct {
	status string
	price  campaign.Micros
	parts  int
}

// packAnswer packs what was said of the members of an attempt; nil when nothing
// was said of anybody.
func packAnswer(outcomes []Outcome) []byte {
	var (
		alike   []saidAlike
		numbers = map[saidAlike]uint64{}
		rows    = make([]byte, 0, 20*len(outcomes))
	)
	for i := range outcomes {
		o := &outcomes[i]
		if o.Status == "" {
			rows = append(rows, 0)
			continue
		}
		k := saidAlike{o.Status, o.Price, o.Parts}
		n, known := numbers[k]
		if !known {
			alike = append(alike, k)
			n = uint64(len(alike))
			numbers[k] = n
		}
		rows = appendProviderID(rows, n, o.ProviderID)
	}
	if len(alike) == 0 {
		return nil
	}
	out := make([]byte, 0, len(rows)+64)
	out = append(out, answerVersion)
	out = binary.AppendUvarint(out, uint64(len(alike)))
	for _, k := range alike {
		out = binary.AppendUvarint(out, uint64(len(k.status)))
		out = append(out, k.status...)
		out = binary.AppendVarint(out, int64(k.price))
		out = binary.AppendVarint(out, int64(k.parts))
	}
	return append(out, rows...)
}

// appendProviderID appends the number of a combination and an id. The two share
// a number, so that 0 is left for members of whom nothing was said.
func appendProviderID(b []byte, n uint64, id string) []byte {
	kind := idText
	u, err := uuid.Parse(id)
	switch {
	case id == "":
		kind = idNone
	case err != nil || len(id) != uuidLength: // it reads other forms too
	case !strings.ContainsAny(id, "ABCDEF"):
		kind = idLower
	case !strings.ContainsAny(id, "abcdef"):
		kind = idUpper
	}
	b = binary.AppendUvarint(b, n*idKinds+uint64(kind))
	switch kind {
	case idLower, idUpper:
		b = append(b, u[:]...)
	case idText:
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
	}
	return b
}

var errAnswer = errors.New("the answer to an attempt cannot be read: the ledger is damaged")

// unpackAnswer hands what was said of each member to fn, in the order of the
// members; of whom nothing was said is left out.
func unpackAnswer(b []byte, members []int64, fn func(recipient int64, s Said)) error {
	if len(b) == 0 {
		return nil
	}
	r := cellReader{b: b[1:]}
	if b[0] != answerVersion {
		return errAnswer
	}
	alike := make([]Said, r.count())
	for i := range alike {
		alike[i] = Said{Status: r.text(), Price: campaign.Micros(r.signed()), Parts: int(r.signed())}
	}
	for _, m := range members {
		head := r.unsigned()
		if head == 0 {
			continue
		}
		n, kind := head/idKinds, head%idKinds
		if n == 0 || n > uint64(len(alike)) {
			return errAnswer
		}
		s := alike[n-1]
		switch kind {
		case idLower:
			s.ProviderID = r.uuid().String()
		case idUpper:
			s.ProviderID = strings.ToUpper(r.uuid().String())
		case idText:
			s.ProviderID = r.text()
		}
		if r.bad {
			return errAnswer
		}
		fn(m, s)
	}
	if r.bad || len(r.b) > 0 {
		return errAnswer
	}
	return nil
}

// cellReader reads a packed cell. After a cell that ends too soon it is bad, and
// gives zeros.
type cellReader struct {
	b   []byte
	bad bool
}

func (r *cellReader) unsigned() uint64 {
	v, n := binary.Uvarint(r.b)
	return cut(r, v, n)
}

func (r *cellReader) signed() int64 {
	v, n := binary.Varint(r.b)
	return cut(r, v, n)
}

func cut[T uint64 | int64](r *cellReader, v T, n int) T {
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things follow, each of a byte at least.
func (r *cellReader) count() int {
	n := r.unsigned()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *cellReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *cellReader) text() string { return string(r.bytes(r.count())) }

func (r *cellReader) uuid() uuid.UUID {
	var u uuid.UUID
	copy(u[:], r.bytes(len(u)))
	return u
}
