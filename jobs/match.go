package jobs

import (
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// match finds the answer row of each message: result[i] is the index of the
// row that speaks of message i, or -1 when none certainly does. Rows are
// matched by reference; rows without one by position and destination, and only
// when there are as many rows as messages and no other message of the batch
// goes to that destination, lest rows in another order be mistaken for each
// other. A reference that two rows bear is certain of neither.
func match(messages []outgoing, rows []clicksend.Outcome) []int {
	found := make([]int, len(messages))
	byReference := make(map[string]int, len(messages))
	for i, m := range messages {
		found[i] = -1
		byReference[m.reference] = i
	}
	const twice = -2
	claimed := make([]bool, len(rows))
	for j, r := range rows {
		if r.CustomString == "" {
			continue
		}
		claimed[j] = true
		i, ours := byReference[r.CustomString]
		switch {
		case !ours:
		case found[i] == -1:
			found[i] = j
		default:
			found[i] = twice
		}
	}
	var shared map[string]int // messages by destination
	for i := range found {
		if found[i] == -1 && len(rows) == len(messages) && !claimed[i] {
			if shared == nil {
				shared = make(map[string]int, len(messages))
				for j := range messages {
					shared[destination(&messages[j].message)]++
				}
			}
			if d := destination(&messages[i].message); d != "" && shared[d] == 1 && d == rowDestination(&rows[i]) {
				found[i] = i
			}
		}
		if found[i] == twice {
			found[i] = -1
		}
	}
	return found
}

// destination is where a message is to go, folded for comparison: the provider
// may write a number with or without its plus, and trims and re-cases
// addresses.
func destination(m *campaign.Message) string {
	if m.To != "" {
		return digits(m.To)
	}
	if m.Address.Name == "" {
		return ""
	}
	return m.Address.Key()
}

// rowDestination is where a row says that its message goes, folded likewise.
func rowDestination(r *clicksend.Outcome) string {
	if r.To != "" {
		return digits(r.To)
	}
	a := campaign.Address{
		Name: r.Address.Name, Line1: r.Address.Line1, Line2: r.Address.Line2, City: r.Address.City,
		State: r.Address.State, PostalCode: r.Address.PostalCode, Country: r.Address.Country,
	}
	return a.Key()
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}
