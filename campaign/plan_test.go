package campaign

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// plan plans the contacts and returns copies of what was emitted.
func plan(t testing.TB, c Content, limits Limits, o PlanOptions, contacts []Contact) ([]PlannedBatch, PlanSummary, error) {
	t.Helper()
	r, err := NewRenderer(&c, limits)
	if err != nil {
		t.Fatal(err)
	}
	var batches []PlannedBatch
	emit := o.Emit
	o.Emit = func(b PlannedBatch) error {
		batches = append(batches, PlannedBatch{b.FileKey, b.Zone, slices.Clone(b.Recipients)})
		if emit != nil {
			return emit(b)
		}
		return nil
	}
	p := NewPlanner(r, o)
	for i := range contacts {
		if err := p.Add(&contacts[i]); err != nil {
			break
		}
	}
	sum, err := p.Close()
	return batches, sum, err
}

func smsContact(i int) Contact {
	return Contact{ID: int64(i), Line: i + 1, Phone: fmt.Sprintf("+614%08d", i), FirstName: "Anna", Country: "AU"}
}

func postContact(i int) Contact {
	return Contact{ID: int64(i), Line: i + 1, Address: Address{
		Name: "Anna", Line1: fmt.Sprintf("%d High St", i), City: "Perth", PostalCode: "6000", Country: "AU",
	}}
}

func TestAnAudienceBecomesFullBatches(t *testing.T) {
	t.Parallel()
	var contacts []Contact
	for i := range 2500 {
		contacts = append(contacts, smsContact(i))
	}
	batches, sum, err := plan(t, Content{Channel: SMS, Body: "Hi {{first_name}}"}, Limits{}, PlanOptions{Examples: 5}, contacts)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, b := range batches {
		sizes = append(sizes, len(b.Recipients))
	}
	if diff := cmp.Diff([]int{1000, 1000, 500}, sizes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(PlannedRecipient{ContactID: 1000, State: Pending, Parts: 1, Line: 1001}, batches[1].Recipients[0]); diff != "" {
		t.Error(diff)
	}
	if len(sum.Examples) != 5 || sum.Examples[4].To != "+61400000004" || sum.Examples[4].Body != "Hi Anna" {
		t.Errorf("examples = %+v", sum.Examples)
	}
	sum.Examples = nil
	if diff := cmp.Diff(PlanSummary{
		Total: 2500, Sendable: 2500, Suppressed: map[string]int{}, Batches: 3, Parts: 2500,
		MessagesByParts: map[int]int{1: 2500}, ByCountry: map[string]int{"AU": 2500},
		Shortest: Extent{Line: 1, Parts: 1, Units: 7}, Longest: Extent{Line: 1, Parts: 1, Units: 7},
	}, sum); diff != "" {
		t.Error(diff)
	}
}

func TestThoseWhoAreNotSentToAreSuppressedWithTheReason(t *testing.T) {
	t.Parallel()
	a, b, noPhone, again, out := smsContact(0), smsContact(1), smsContact(2), smsContact(0), smsContact(4)
	noPhone.Phone = ""
	noPhone.FirstName = "" // who is not sent to needs no fields
	again.ID, again.Line = 3, 4
	batches, sum, err := plan(t, Content{Channel: SMS, Body: "Hi {{first_name}}"}, Limits{}, PlanOptions{
		Seen:     NewSeen(),
		OptedOut: func(c *Contact) bool { return c.ID == 4 },
	}, []Contact{a, b, noPhone, again, out})
	if err != nil {
		t.Fatal(err)
	}
	want := []PlannedBatch{
		{"", "", []PlannedRecipient{{ContactID: 0, Parts: 1, Line: 1}, {ContactID: 1, Parts: 1, Line: 2}}},
		{"", "", []PlannedRecipient{
			{ContactID: 2, State: Suppressed, Reason: ReasonNoDestination, Line: 3},
			{ContactID: 3, State: Suppressed, Reason: ReasonDuplicate, Line: 4},
			{ContactID: 4, State: Suppressed, Reason: ReasonOptedOut, Line: 5},
		}},
	}
	if diff := cmp.Diff(want, batches); diff != "" {
		t.Error(diff)
	}
	if !batches[0].Sendable() || batches[1].Sendable() || (PlannedBatch{}).Sendable() {
		t.Error("Sendable is wrong")
	}
	if sum.Total != 5 || sum.Sendable != 2 || sum.Batches != 1 {
		t.Errorf("summary = %+v", sum)
	}
	if diff := cmp.Diff(map[string]int{ReasonNoDestination: 1, ReasonDuplicate: 1, ReasonOptedOut: 1}, sum.Suppressed); diff != "" {
		t.Error(diff)
	}
}

func TestWhoIsTheSameRecipientDependsOnTheChannel(t *testing.T) {
	t.Parallel()
	home := postContact(1)
	shout := home
	shout.Address.Name = "  ANNA "
	otherName := home
	otherName.Address.Name = "Bert"
	noPostcode := home
	noPostcode.Address.PostalCode = ""
	with := func(c Contact, reference, pdf string) Contact {
		c.Reference, c.Fields = reference, FieldsOf(map[string]string{"pdf": pdf})
		return c
	}
	shared := validContents()[Letter]
	own := Content{Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1}
	resolve := func(path string) (File, error) {
		return File{SHA256: fmt.Sprintf("%064x", len(path)), Name: path, Size: 1, Type: "pdf"}, nil
	}
	for name, test := range map[string]struct {
		content  Content
		contacts []Contact
		want     map[string]int
	}{
		"shared file, same household":         {shared, []Contact{home, shout}, map[string]int{ReasonDuplicate: 1}},
		"shared file, another name":           {shared, []Contact{home, otherName}, map[string]int{}},
		"shared file, reference of no import": {shared, []Contact{with(home, "1", ""), with(home, "2", "")}, map[string]int{ReasonDuplicate: 1}},
		"incomplete address":                  {shared, []Contact{home, noPostcode}, map[string]int{ReasonNoDestination: 1}},
		"own file, same reference":            {own, []Contact{with(home, "1", "a"), with(otherName, "1", "bb")}, map[string]int{ReasonDuplicate: 1}},
		"own file, other reference":           {own, []Contact{with(home, "1", "a"), with(home, "2", "a")}, map[string]int{}},
		"own file, same file and address":     {own, []Contact{with(home, "", "a"), with(shout, "", "b")}, map[string]int{ReasonDuplicate: 1}},
		"own file, other file":                {own, []Contact{with(home, "", "a"), with(home, "", "bb")}, map[string]int{}},
	} {
		_, sum, err := plan(t, test.content, Limits{}, PlanOptions{Seen: NewSeen(), Resolve: resolve}, test.contacts)
		if diff := cmp.Diff(test.want, sum.Suppressed); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestRowsThatCannotBeSentAreAllNamedOrCounted(t *testing.T) {
	t.Parallel()
	var contacts []Contact
	for i := range 3000 {
		c := smsContact(i)
		if i >= 1500 && i < 1530 {
			c.FirstName = ""
		}
		contacts = append(contacts, c)
	}
	contacts[1500].FirstName = strings.Repeat("a", 1000)
	batches, sum, err := plan(t, Content{Channel: SMS, Body: "Hi {{first_name}}"}, Limits{}, PlanOptions{}, contacts)
	var pe *PlanError
	if !errors.As(err, &pe) || pe.Total != 30 || len(pe.First) != MaxRowErrors || ErrorCode(err) != CodeInvalid {
		t.Fatalf("error = %v", err)
	}
	var le *LimitError
	if !errors.As(pe.First[0], &le) || le.Line != 1501 || le.Got != 7 || le.Limit != 6 {
		t.Errorf("first error = %v", pe.First[0])
	}
	var fe *FieldError
	if !errors.As(pe.First[1], &fe) || fe.Line != 1502 || fe.Field != "first_name" {
		t.Errorf("second error = %v", pe.First[1])
	}
	for _, says := range []string{"30 rows", "nothing is planned", "line 1501", "line 1520", "and 10 more"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q: %v", says, err)
		}
	}
	if len(batches) != 1 {
		t.Errorf("%d batches were emitted; after the first bad row there should be none", len(batches))
	}
	if sum.Total != 3000 || sum.Sendable != 2970 {
		t.Errorf("total %d, sendable %d", sum.Total, sum.Sendable)
	}
	_, _, err = plan(t, Content{Channel: SMS, Body: "Hi {{last_name}}"}, Limits{}, PlanOptions{}, contacts[:1])
	if err == nil || !strings.HasPrefix(err.Error(), "1 row cannot be sent") || strings.Contains(err.Error(), "more") {
		t.Errorf("error = %v", err)
	}
}

func TestAnEmitThatFailsEndsThePlanning(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	var contacts []Contact
	for i := range 2500 {
		contacts = append(contacts, smsContact(i))
	}
	batches, sum, err := plan(t, Content{Channel: SMS, Body: "Hi"}, Limits{}, PlanOptions{Emit: func(PlannedBatch) error { return full }}, contacts)
	if !errors.Is(err, full) || len(batches) != 1 || sum.Total != 1000 {
		t.Errorf("%d batches, total %d, %v", len(batches), sum.Total, err)
	}
	r, _ := NewRenderer(&Content{Channel: SMS, Body: "Hi"}, Limits{})
	p := NewPlanner(r, PlanOptions{})
	if _, err := p.Close(); err != nil {
		t.Error(err)
	}
	if p.Add(&contacts[0]) == nil {
		t.Error("a contact was planned after the end")
	}
}

func TestPersonalLettersAreCutByFile(t *testing.T) {
	t.Parallel()
	var contacts []Contact
	for i := range 70_000 {
		c := postContact(i)
		file := fmt.Sprintf("own-%d.pdf", i)
		if i%2 == 0 {
			file = "same.pdf"
		}
		c.Fields = FieldsOf(map[string]string{"pdf": " " + file})
		contacts = append(contacts, c)
	}
	asked := map[string]int{}
	key := func(path string) string { return fmt.Sprintf("%064x", []byte(path)) }
	batches, sum, err := plan(t, Content{Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1}, Limits{}, PlanOptions{
		Seen:     NewSeen(),
		Examples: 1,
		Resolve: func(path string) (File, error) {
			asked[path]++
			return File{SHA256: fmt.Sprintf("%064x", []byte(path)), Name: path, Size: 1, Type: "pdf"}, nil
		},
	}, contacts)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	seen := map[int64]bool{}
	for _, b := range batches {
		for _, r := range b.Recipients {
			want := fmt.Sprintf("own-%d.pdf", r.ContactID)
			if r.ContactID%2 == 0 {
				want = "same.pdf"
			}
			if b.FileKey != key(want) {
				t.Fatalf("contact %d is in a batch of another file", r.ContactID)
			}
			if seen[r.ContactID] {
				t.Fatalf("contact %d twice", r.ContactID)
			}
			seen[r.ContactID] = true
		}
		if b.FileKey == key("same.pdf") {
			same++
		}
	}
	// 35 full ones, and one more for each of the two times that too many waited.
	if len(seen) != 70_000 || sum.Batches != len(batches) || same > 37 {
		t.Errorf("%d contacts, %d batches of %d counted, %d of the shared file", len(seen), len(batches), sum.Batches, same)
	}
	if asked["same.pdf"] > 70_000/2/1023+1 || asked["own-1.pdf"] != 1 {
		t.Errorf("the shared file was asked for %d times, an own one %d times", asked["same.pdf"], asked["own-1.pdf"])
	}
	if sum.Examples[0].FileKey != key("same.pdf") {
		t.Errorf("example = %+v", sum.Examples[0])
	}
}

func TestFilesThatCannotBeUsedAreTheRowsFault(t *testing.T) {
	t.Parallel()
	content := Content{Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1}
	c := postContact(6)
	good := File{SHA256: strings.Repeat("a", 64), Name: "x.pdf", Size: 1, Type: "pdf"}
	for name, test := range map[string]struct {
		path string
		file File
		err  error
		says string // "" when planning ends at once
	}{
		"no path":    {"", good, nil, "line 7: field pdf is missing or empty"},
		"no file":    {"x.pdf", good, &fs.PathError{Op: "open", Path: "x.pdf", Err: fs.ErrNotExist}, "file does not exist"},
		"no rights":  {"x.pdf", good, fs.ErrPermission, "permission denied"},
		"refused":    {"x.pdf", good, Errorf(CodeInvalid, "outside the folder"), "outside the folder"},
		"empty file": {"x.pdf", File{SHA256: strings.Repeat("a", 64), Name: "x.pdf", Type: "pdf"}, nil, "x.pdf is empty"},
		"wrong type": {"x.txt", File{SHA256: strings.Repeat("a", 64), Name: "x.txt", Size: 1}, nil, "not of a type"},
		"disk full":  {"x.pdf", good, errors.New("disk full"), ""},
	} {
		c.Fields = FieldsOf(map[string]string{"pdf": test.path})
		_, _, err := plan(t, content, Limits{}, PlanOptions{Resolve: func(string) (File, error) { return test.file, test.err }}, []Contact{c, c})
		var pe *PlanError
		if errors.As(err, &pe) != (test.says != "") || err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error = %v", name, err)
		}
		if pe != nil && pe.Total != 2 {
			t.Errorf("%s: %d rows, want 2", name, pe.Total)
		}
		if test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: the cause is lost", name)
		}
	}
	if _, _, err := plan(t, content, Limits{}, PlanOptions{}, []Contact{func() Contact { c.Fields = FieldsOf(map[string]string{"pdf": "x.pdf"}); return c }()}); err == nil {
		t.Error("letters with own files were planned without a way to fetch them")
	}
}

func TestThePlanNamesWhatMakesMessagesUnicodeAndWhatItCosts(t *testing.T) {
	t.Parallel()
	names := []string{"D’Arcy", "Zoë", "Anna", "Łukasz", "‘Bo’"}
	var contacts []Contact
	for i, n := range names {
		c := smsContact(i)
		c.FirstName = n
		contacts = append(contacts, c)
	}
	contacts[4].Country = "NZ"
	body := "Hi {{first_name}}, " + strings.Repeat("x", 100)
	_, sum, err := plan(t, Content{Channel: SMS, Body: body}, AccountLimits(6, 0), PlanOptions{}, contacts)
	if err != nil {
		t.Fatal(err)
	}
	// ë is not GSM either; only the quotes can be made plain: two messages of two parts become one each.
	if sum.UnicodeMessages != 4 || sum.Parts != 9 || sum.ExtraParts != 2 {
		t.Errorf("unicode %d, parts %d, extra %d", sum.UnicodeMessages, sum.Parts, sum.ExtraParts)
	}
	if diff := cmp.Diff([]CharacterCount{{"’", "U+2019", 2}, {"ë", "U+00EB", 1}, {"Ł", "U+0141", 1}, {"‘", "U+2018", 1}}, sum.UnicodeCharacters); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[int]int{1: 1, 2: 4}, sum.MessagesByParts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"AU": 4, "NZ": 1}, sum.ByCountry); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Extent{{3, 1, 109, false}, {1, 2, 111, true}}, []Extent{sum.Shortest, sum.Longest}); diff != "" {
		t.Error(diff)
	}
	if len(sum.Warnings) != 1 || !strings.Contains(sum.Warnings[0], "Unicode setting is off") {
		t.Errorf("warnings = %q", sum.Warnings)
	}
	if sum.UnicodeParts != 4 {
		t.Errorf("Unicode costs %d parts more, want 4: two parts instead of one, four times", sum.UnicodeParts)
	}

	_, plain, err := plan(t, Content{Channel: SMS, Body: body, PlainPunctuation: true}, Limits{}, PlanOptions{}, contacts)
	if err != nil || plain.Parts != sum.Parts-sum.ExtraParts || plain.ExtraParts != 0 || plain.UnicodeMessages != 2 || len(plain.Warnings) != 0 {
		t.Errorf("plain: %+v, %v", plain, err)
	}
	b, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	var back PlanSummary
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	sum.Suppressed = nil
	if diff := cmp.Diff(sum, back); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyTheTopUnicodeCharactersAreListed(t *testing.T) {
	t.Parallel()
	var contacts []Contact
	for i := range 30 {
		c := smsContact(i)
		c.FirstName = strings.Repeat(string(rune('а'+i)), 2) + strings.Repeat("ё", i%2)
		contacts = append(contacts, c)
	}
	_, sum, err := plan(t, Content{Channel: SMS, Body: "{{first_name}}"}, Limits{}, PlanOptions{}, contacts)
	if err != nil || len(sum.UnicodeCharacters) != MaxUnicodeCharacters || sum.UnicodeCharacters[0] != (CharacterCount{"ё", "U+0451", 15}) {
		t.Errorf("%v, %v", sum.UnicodeCharacters, err)
	}
}

func TestThePlanWarnsOfSlips(t *testing.T) {
	t.Parallel()
	contacts := []Contact{smsContact(1), smsContact(2)}
	for name, test := range map[string]struct {
		content Content
		says    string
	}{
		"column that nobody has":     {Content{Channel: SMS, Body: "Hi {{frist_name|there}}"}, "{{frist_name}}"},
		"STOP to a name":             {Content{Channel: SMS, From: "ACME", Body: "Sale. Reply STOP to opt out"}, "cannot be answered"},
		"STOP to a number":           {Content{Channel: SMS, From: "+61411111111", Body: "Sale. Reply STOP"}, ""},
		"STOP to the shared number":  {Content{Channel: SMS, Body: "Sale. Reply STOP"}, ""},
		"no STOP":                    {Content{Channel: SMS, From: "ACME", Body: "Nonstop STOPPING sale"}, ""},
		"default beside real values": {Content{Channel: SMS, Body: "Hi {{first_name|there}}"}, ""},
	} {
		_, sum, err := plan(t, test.content, Limits{}, PlanOptions{}, contacts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if test.says == "" && len(sum.Warnings) > 0 || test.says != "" && (len(sum.Warnings) != 1 || !strings.Contains(sum.Warnings[0], test.says)) {
			t.Errorf("%s: warnings = %q, want %q", name, sum.Warnings, test.says)
		}
	}
}

// Whatever the audience, everybody has exactly one place in the plan and the
// sums agree with a plan made the slow way.
func TestEverybodyHasExactlyOnePlaceInThePlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5000).Draw(t, "contacts")
		files := rapid.IntRange(0, 150).Draw(t, "files")
		spread := rapid.IntRange(1, 6000).Draw(t, "different recipients")
		seed := rapid.Uint64().Draw(t, "seed")
		next := func(n int) int {
			seed = seed*6364136223846793005 + 1442695040888963407
			return int(seed>>33) % n
		}
		content := Content{Channel: SMS, Body: "Hi {{first_name|you}}"}
		if files > 0 {
			content = Content{Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1}
		}
		columns := NewColumns("pdf")
		type place struct {
			state  RecipientState
			reason string
			file   string
		}
		want := map[int64]place{}
		wantReasons := map[string]int{}
		taken := map[string]bool{}
		optedOut := map[int64]bool{}
		var contacts []Contact
		for i := range n {
			who := next(spread)
			c := smsContact(who)
			path := ""
			if files > 0 {
				c = postContact(who)
				path = fmt.Sprint(next(files))
				c.Fields = Fields{Columns: columns, Values: []string{path}}
			}
			c.ID, c.Line = int64(i+1), i+1
			p := place{file: path}
			id := path + c.Phone + c.Address.Key()
			switch {
			case next(20) == 0:
				c.Phone, c.Address = "", Address{}
				p = place{state: Suppressed, reason: ReasonNoDestination}
			case next(20) == 0:
				optedOut[c.ID] = true
				p = place{state: Suppressed, reason: ReasonOptedOut}
			case taken[id]:
				p = place{state: Suppressed, reason: ReasonDuplicate}
			default:
				taken[id] = true
			}
			if p.reason != "" {
				wantReasons[p.reason]++
			}
			want[c.ID] = p
			contacts = append(contacts, c)
		}
		r, err := NewRenderer(&content, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[int64]place{}
		sendable := 0
		p := NewPlanner(r, PlanOptions{
			Seen:     NewSeen(),
			OptedOut: func(c *Contact) bool { return optedOut[c.ID] },
			Resolve: func(path string) (File, error) {
				return File{SHA256: fmt.Sprintf("%064s", path), Size: 1, Type: "pdf"}, nil
			},
			Emit: func(b PlannedBatch) error {
				if len(b.Recipients) == 0 || len(b.Recipients) > MaxBatch {
					t.Fatalf("a batch of %d", len(b.Recipients))
				}
				if b.Sendable() {
					sendable++
				}
				for _, r := range b.Recipients {
					if _, twice := got[r.ContactID]; twice {
						t.Fatalf("contact %d has two places", r.ContactID)
					}
					if r.State != b.Recipients[0].State || r.Line != int(r.ContactID) {
						t.Fatalf("recipient %+v in a batch of %s", r, b.Recipients[0].State)
					}
					got[r.ContactID] = place{r.State, r.Reason, strings.TrimLeft(b.FileKey, "0")}
				}
				return nil
			},
		})
		for i := range contacts {
			if err := p.Add(&contacts[i]); err != nil {
				t.Fatal(err)
			}
		}
		sum, err := p.Close()
		if err != nil {
			t.Fatal(err)
		}
		for id, p := range want {
			p.file = strings.TrimLeft(p.file, "0")
			if got[id] != p {
				t.Fatalf("contact %d: %+v, want %+v", id, got[id], p)
			}
		}
		if diff := cmp.Diff(wantReasons, sum.Suppressed); diff != "" || len(got) != n {
			t.Fatalf("%d of %d have a place\n%s", len(got), n, diff)
		}
		suppressed := 0
		for _, n := range sum.Suppressed {
			suppressed += n
		}
		messages := 0
		for _, n := range sum.MessagesByParts {
			messages += n
		}
		if sum.Total != n || sum.Sendable+suppressed != n || messages != sum.Sendable || sum.Parts != sum.Sendable || sum.Batches != sendable {
			t.Fatalf("the sums do not add up: %+v", sum)
		}
	})
}

func TestPlanningAllocatesNothingPerContact(t *testing.T) {
	r, err := NewRenderer(&Content{Channel: SMS, Body: "It’s {{first_name}} 🎉 {{last_name|x}}"}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPlanner(r, PlanOptions{Emit: func(PlannedBatch) error { return nil }})
	c := smsContact(1)
	add := func() {
		for range MaxBatch {
			if err := p.Add(&c); err != nil {
				t.Fatal(err)
			}
		}
	}
	add()
	if n := testing.AllocsPerRun(5, add); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

func BenchmarkPlan(b *testing.B) {
	const rows = 1_000_000
	contacts := make([]Contact, 10_000)
	columns := NewColumns("plan", "city")
	for i := range contacts {
		contacts[i] = smsContact(i)
		contacts[i].Fields = Fields{Columns: columns, Values: []string{"Gold", "Perth"}}
	}
	for _, bench := range []struct {
		name string
		body string
		seen bool
	}{
		{"unique", "Hi {{first_name|there}}, your {{plan}} offer in {{city}} ends on Sunday. Reply STOP to opt out. Terms at example.com/terms", false},
		{"duplicate-check", "Hi {{first_name|there}}, your {{plan}} offer in {{city}} ends on Sunday. Reply STOP to opt out. Terms at example.com/terms", true},
		{"unicode", "Hi {{first_name|there}}, it’s your {{plan}} offer in {{city}}", false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r, err := NewRenderer(&Content{Channel: SMS, From: "+61411111111", Body: bench.body}, Limits{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				o := PlanOptions{Examples: 5, Emit: func(PlannedBatch) error { return nil }, OptedOut: func(*Contact) bool { return false }}
				if bench.seen {
					o.Seen = NewSeen()
				}
				p := NewPlanner(r, o)
				phone := []byte("+61400000000")
				var c Contact
				for i := range rows {
					c = contacts[i%len(contacts)]
					if bench.seen {
						for j, n := len(phone)-1, i; n > 0; j, n = j-1, n/10 {
							phone[j] = byte('0' + n%10)
						}
						c.Phone = string(phone)
					}
					if err := p.Add(&c); err != nil {
						b.Fatal(err)
					}
				}
				sum, err := p.Close()
				if err != nil || sum.Sendable != rows {
					b.Fatal(sum.Sendable, err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "contacts/s")
		})
	}
}
