package main

import "github.com/postrider/postrider/campaign"

// showSegment says which contacts of an audience a campaign is for; nothing
// when it is for all.
func (m *Main) showSegment(s *campaign.Selection) {
	if s == nil {
		return
	}
	m.say("  segment       %s of %s contacts: %s", number(s.Selected), number(s.Of), printable(s.Segment.String()))
}
