package campaign

import (
	"hash/maphash"
	"math/bits"
)

// Identity says what makes two contacts the same recipient
// (docs: ARCHITECTURE, "Who is the same recipient").
type Identity uint8

// The identities.
const (
	// ByContact is for a list whose channel is not known yet: the number where
	// the contact has one and no complete address; otherwise everything
	// together, since two rows for one household may be two letters.
	ByContact Identity = iota
	// ByNumber is for SMS and MMS: the number.
	ByNumber
	// ByPost is for letters and postcards that share a file: name and whole
	// address.
	ByPost
	// ByLetter is for personal letters: the reference where the contact has
	// one; otherwise its own file, name and address.
	ByLetter
	// ByHousehold is for letters and postcards of which one goes to an address,
	// whoever lives there: the address without its name, case, punctuation and
	// white space aside.
	ByHousehold
)

// AppendKey appends to b the key under which c is the same recipient as
// another. The file is the one that is printed for this contact alone, for
// ByLetter; for ByContact it stands for all further columns; else "". A contact that lacks what the identity asks for (no number
// for ByNumber) is told apart by all that it has.
func (id Identity) AppendKey(b []byte, c *Contact, file string) []byte {
	switch {
	case id == ByNumber && c.Phone != "",
		id == ByContact && c.Phone != "" && !c.Address.Complete():
		return append(append(b, 'n'), c.Phone...)
	case id == ByLetter && c.Reference != "":
		return append(append(b, 'r'), c.Reference...)
	case id == ByPost && c.Address.Complete():
		return c.Address.AppendKey(append(b, 'a'))
	case id == ByHousehold && c.Address.Complete():
		return append(append(b, 'h'), addressPlace(&c.Address)...)
	case id == ByLetter && c.Address.Complete():
		b = append(append(b, 'f'), file...)
		return c.Address.AppendKey(append(b, '\x1f'))
	}
	b = append(append(b, 'c'), c.Phone...)
	b = appendFolded(append(b, '\x1f'), c.FirstName)
	b = appendFolded(append(b, '\x1f'), c.LastName)
	b = c.Address.AppendKey(append(b, '\x1f'))
	b = append(append(b, '\x1f'), c.Reference...)
	return append(append(b, '\x1f'), file...)
}

// Seen is the set of the keys that have been seen, without the keys: 16 bytes
// a key at full load, 17 to 21 with the room that the table needs. A key is
// told by a keyed hash of 96 bits: among a hundred million keys the chance that
// any two are taken for one is below one in ten trillion (n²/2⁹⁷). Nobody who
// writes a file can aim at it, since the key of the hash is made at random for
// every Seen.
//
// With each key it remembers a mark of 40 bits: the line of the file on which
// the key was first seen.
//
// Digest may be called from any number of goroutines, and so may Has while nobody
// adds; the rest from one at a time.
type Seen struct {
	seeds  [2]maphash.Seed
	shards [seenShards]seenShard
	n      int
}

const (
	// The set is cut into shards, each of which grows for itself and by an
	// eighth, so that growing never holds more than a sliver of it twice.
	seenShards = 256
	seenBits   = 8

	markBits = 40
	// MaxMark is the largest mark that Seen keeps.
	MaxMark = 1<<markBits - 1
)

// Digest stands for a key in one Seen.
type Digest struct{ hi, lo uint64 }

// NewSeen makes an empty set.
func NewSeen() *Seen {
	return &Seen{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// Add puts the key in, and reports whether it was not there before.
func (s *Seen) Add(key string) (isNew bool) {
	_, isNew = s.AddDigest(s.digest(maphash.String(s.seeds[0], key), maphash.String(s.seeds[1], key)), 0)
	return isNew
}

// AddBytes is Add for a key that lies in a buffer.
func (s *Seen) AddBytes(key []byte) (isNew bool) {
	_, isNew = s.AddDigest(s.Digest(key), 0)
	return isNew
}

// Digest hashes a key for AddDigest, so that several goroutines can share the
// hashing.
func (s *Seen) Digest(key []byte) Digest {
	return s.digest(maphash.Bytes(s.seeds[0], key), maphash.Bytes(s.seeds[1], key))
}

// AddDigest puts in the key that the digest stands for, with a mark from 0 to
// MaxMark (a larger one is kept as MaxMark). When the key was there already,
// first is the mark it was put in with.
func (s *Seen) AddDigest(d Digest, mark int64) (first int64, isNew bool) {
	m := uint64(min(max(mark, 0), MaxMark))
	first, isNew = s.shards[d.lo>>(64-seenBits)].add(d.hi, d.lo<<seenBits>>markBits<<markBits|m)
	if isNew {
		s.n++
	}
	return first, isNew
}

// Has reports whether the key is in. Any number of goroutines may ask while
// nobody adds.
func (s *Seen) Has(key []byte) bool {
	d := s.Digest(key)
	return s.shards[d.lo>>(64-seenBits)].has(d.hi, d.lo<<seenBits>>markBits)
}

// Len is the number of different keys.
func (s *Seen) Len() int { return s.n }

func (s *Seen) digest(a, b uint64) Digest {
	// Zero in hi marks an empty slot. Of the 2⁶⁴ digests one is thereby taken
	// for its neighbour.
	return Digest{hi: max(a, 1), lo: b}
}

// seenShard is a table with open addressing, kept in the order of the hash: a
// key that is not there is known by the first larger one, and growing is one
// pass from front to back.
type seenShard struct {
	slots []seenSlot
	home  uint64 // slots that are homes; the few behind them take the overflow of the last
	n     int
}

type seenSlot struct {
	hi  uint64 // first hash; 0: empty
	low uint64 // 24 bits of the second hash, then the mark
}

const (
	firstHomes = 24
	overflow   = 8 // slots behind the homes at first; an eighth of the growth is added
)

func (t *seenShard) add(hi, low uint64) (int64, bool) {
	if t.n >= int(t.home-t.home/8) {
		t.grow()
	}
	for {
		i, _ := bits.Mul64(hi, t.home)
		for ; i < uint64(len(t.slots)); i++ {
			at := t.slots[i]
			if at.hi == 0 {
				t.slots[i] = seenSlot{hi, low}
				t.n++
				return int64(low & MaxMark), true
			}
			if at.hi == hi && at.low>>markBits == low>>markBits {
				return int64(at.low & MaxMark), false
			}
			if at.hi > hi {
				break
			}
		}
		// Everything from i to the next empty slot moves up by one.
		end := i
		for end < uint64(len(t.slots)) && t.slots[end].hi != 0 {
			end++
		}
		if end < uint64(len(t.slots)) {
			copy(t.slots[i+1:end+1], t.slots[i:end])
			t.slots[i] = seenSlot{hi, low}
			t.n++
			return int64(low & MaxMark), true
		}
		t.grow() // the last homes overflow
	}
}

// has looks for a hash, of the second of which it is given the bits that are kept.
func (t *seenShard) has(hi, second uint64) bool {
	i, _ := bits.Mul64(hi, t.home)
	for ; i < uint64(len(t.slots)); i++ {
		switch at := t.slots[i]; {
		case at.hi == hi && at.low>>markBits == second:
			return true
		case at.hi == 0 || at.hi > hi:
			return false
		}
	}
	return false
}

// grow makes the table an eighth larger (twice while it is tiny). The order of
// the hashes is kept, so each slot is written once, behind the one before.
func (t *seenShard) grow() {
	homes := t.home + t.home/8
	switch {
	case t.home == 0:
		homes = firstHomes
	case t.home < 1024:
		homes = t.home * 2
	}
	for {
		if slots, ok := respread(t.slots, homes); ok {
			t.slots, t.home = slots, homes
			return
		}
		homes += homes / 8
	}
}

func respread(old []seenSlot, homes uint64) ([]seenSlot, bool) {
	slots := make([]seenSlot, homes+overflow+homes/64)
	next := uint64(0) // the first slot that is free
	for _, s := range old {
		if s.hi == 0 {
			continue
		}
		i, _ := bits.Mul64(s.hi, homes)
		if i = max(i, next); i >= uint64(len(slots)) {
			return nil, false
		}
		slots[i], next = s, i+1
	}
	return slots, true
}

// String names the identity as the ledger stores it.
func (id Identity) String() string {
	switch id {
	case ByNumber:
		return "number"
	case ByPost:
		return "post"
	case ByLetter:
		return "letter"
	case ByHousehold:
		return "household"
	}
	return "contact"
}
