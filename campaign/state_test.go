package campaign

import "testing"

func TestEveryStateLeadsToAFinalOne(t *testing.T) {
	t.Parallel()
	for _, s := range States() {
		wantFinal := s == Cancelled || s == Completed || s == Failed
		if s.Final() != wantFinal {
			t.Errorf("%s: Final() = %v, want %v", s, s.Final(), wantFinal)
		}
		seen := map[State]bool{}
		var reaches func(State) bool
		reaches = func(s State) bool {
			if s.Final() {
				return true
			}
			if seen[s] {
				return false
			}
			seen[s] = true
			for _, to := range States() {
				if CanMove(s, to) && reaches(to) {
					return true
				}
			}
			return false
		}
		if !reaches(s) {
			t.Errorf("%s never ends", s)
		}
	}
}

func TestNothingButEvidenceLeavesAFinalRecipientState(t *testing.T) {
	t.Parallel()
	for _, from := range []RecipientState{Delivered, Suppressed, RecipientCancelled} {
		for _, to := range RecipientStates() {
			if CanMoveRecipient(from, to) && (to != Accepted || from == Delivered) {
				t.Errorf("%s -> %s is allowed", from, to)
			}
		}
	}
	if CanMoveRecipient(Accepted, Pending) {
		t.Error("an accepted recipient may be sent to again")
	}
}

func TestMicrosAreExactBothWays(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"0.0566": "0.0566", "13.420000": "13.42", "250": "250.00", "-1.5": "-1.50", "0": "0.00"} {
		m, err := ParseMicros(in)
		if err != nil || m.String() != want {
			t.Errorf("ParseMicros(%q) = %s, %v; want %s", in, m, err, want)
		}
	}
	for _, in := range []string{"", "abc", "1e3", "0.0000001", "1/3", "0x10", "99999999999999999999"} {
		if m, err := ParseMicros(in); err == nil {
			t.Errorf("ParseMicros(%q) = %s, want an error", in, m)
		}
	}
}
