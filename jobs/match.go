package jobs

import (
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// match finds the answer row of each message: result[i] is the index of the
// row that speaks of message i, or -1 when none certainly does. Rows are
// matched by reference; rows without one by position and destination, and only
// when there are as many rows as messages. A reference that two rows bear is
// certain of neither.
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
	for i := range found {
		if found[i] == -1 && len(rows) == len(messages) && !claimed[i] && sameDestination(&messages[i].message, &rows[i]) {
			found[i] = i
		}
		if found[i] == twice {
			found[i] = -1
		}
	}
	return found
}

// sameDestination compares where a message was to go with where a row says it
// goes. The provider may write a number with or without its plus, and trims
// and re-cases addresses.
func sameDestination(m *campaign.Message, r *clicksend.Outcome) bool {
	if m.To != "" {
		return digits(m.To) == digits(r.To)
	}
	a := campaign.Address{
		Name: r.Address.Name, Line1: r.Address.Line1, Line2: r.Address.Line2, City: r.Address.City,
		State: r.Address.State, PostalCode: r.Address.PostalCode, Country: r.Address.Country,
	}
	return m.Address.Name != "" && m.Address.Key() == a.Key()
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}
