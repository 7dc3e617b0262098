package sandbox

import "math/bits"

// idMaker turns a channel and a sequence number into an upper-case UUID and
// back, so that no index of a million ids is needed. The ids look random, and
// come out the same for the same seed.
type idMaker struct {
	key, mul, inverse uint64
}

func newIDMaker(seed uint64) idMaker {
	m := mix64(seed^0x9E3779B97F4A7C15) | 1
	inv := m
	for range 5 { // Newton: the inverse of m modulo 2^64
		inv *= 2 - m*inv
	}
	return idMaker{key: mix64(seed + 1), mul: m, inverse: inv}
}

// mix64 is the finaliser of splitmix64.
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// ghosts is the number space of ids that name no kept message: those of
// prices, refused messages and messages that a fault dropped.
const ghosts = channels

// id returns the 16 bytes of a message's id, a version 4 UUID.
func (m idMaker) id(space channel, seq uint64) (hi, lo uint64) {
	x := (seq<<3 | uint64(space)) ^ m.key
	x ^= x >> 32
	x *= m.mul
	x ^= x >> 32
	x *= m.mul
	x ^= x >> 32
	hi = x&^0xFFFF | 0x4000 | x>>4&0xFFF
	lo = 1<<63 | x&0xF<<58 | mix64(x^m.key)>>6
	return hi, lo
}

// seq is the reverse of id; ok is false when the id is none of ours.
func (m idMaker) seq(hi, lo uint64) (space channel, seq uint64, ok bool) {
	x := hi&^0xFFFF | hi&0xFFF<<4 | lo>>58&0xF
	y := x
	y ^= y >> 32
	y *= m.inverse
	y ^= y >> 32
	y *= m.inverse
	y ^= y >> 32
	y ^= m.key
	space, seq = channel(y&7), y>>3
	h, l := m.id(space, seq)
	return space, seq, h == hi && l == lo
}

// appendUUID writes 16 bytes the way the provider does: upper case.
func appendUUID(out []byte, hi, lo uint64) []byte {
	const hex = "0123456789ABCDEF"
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			out = append(out, '-')
		}
		word := hi
		if i >= 16 {
			word = lo
		}
		out = append(out, hex[bits.RotateLeft64(word, 4+4*(i%16))&15])
	}
	return out
}

// parseUUID reads what appendUUID wrote, in either case.
func parseUUID(s string) (hi, lo uint64, ok bool) {
	if len(s) != 36 {
		return 0, 0, false
	}
	n := 0
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return 0, 0, false
			}
			continue
		}
		var d uint64
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = uint64(c|0x20-'a') + 10
		default:
			return 0, 0, false
		}
		if n < 16 {
			hi = hi<<4 | d
		} else {
			lo = lo<<4 | d
		}
		n++
	}
	return hi, lo, true
}
