package campaign

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// PlannedRecipient is one contact's place in the plan.
type PlannedRecipient struct {
	ContactID int64
	State     RecipientState // Pending or Suppressed
	Reason    string         // of the suppression; else empty
	Parts     int16          // of an SMS; 1 on other channels; 0 when suppressed
	Line      int            // of the source file; 0 when unknown
}

// PlannedBatch is at most MaxBatch recipients that can go in one request: they
// share the files they are sent, and the time zone by which they may be sent
// them. A batch is either pending as a whole or, with
// an empty FileKey, suppressed as a whole, so that a request is as full as it
// can be and a suppressed batch never has anything to send.
type PlannedBatch struct {
	// FileKey is Content.FileKey, or with a FileColumn the File.Key of what
	// PlanOptions.Resolve returned.
	FileKey string
	// Zone is what PlanOptions.Zone returned, a name of the tz database; empty
	// when it was not known, and in a suppressed batch.
	Zone       string
	Recipients []PlannedRecipient
}

// Sendable reports whether the batch's recipients are pending.
func (b PlannedBatch) Sendable() bool {
	return len(b.Recipients) > 0 && b.Recipients[0].State == Pending
}

// PlanOptions says how an audience is planned.
type PlanOptions struct {
	// OptedOut reports whether a contact is on the suppression list. Nil: nobody is.
	OptedOut func(*Contact) bool
	// TakesMessages reports whether messages reach a number (E.164) by its kind.
	// Nil: they reach every one. It is not asked where the content sends to fixed
	// lines, nor on post.
	TakesMessages func(phone string) bool
	// Seen finds duplicates. Nil: the audience is known to have none.
	Seen *Seen
	// Emit takes each batch. The recipients belong to the planner again when it
	// returns; its error ends the planning.
	Emit func(PlannedBatch) error
	// Examples is how many rendered messages the summary shows.
	Examples int
	// Resolve stores the file at a path from the content's FileColumn and
	// describes it. Needed with a FileColumn only. An error with CodeInvalid or
	// CodeNotFound, or that a file does not exist or may not be read, is the
	// row's fault and reported with its line; any other ends the planning.
	Resolve func(path string) (File, error)
	// Zone finds the time zone by which a contact may be sent to, empty when it
	// is not known; the error is the row's. Nil: it does not matter, and batches
	// are not cut by it.
	Zone func(*Contact) (string, error)
}

// DefaultExamples is how many rendered messages a dry run shows.
const DefaultExamples = 5

// The bounds of a plan's memory and of its reports.
const (
	MaxRowErrors = 20 // errors of rows that are named; the others are counted

	maxWaiting       = 32 * MaxBatch // recipients in batches that are not full yet
	maxResolvedFiles = 1024
)

// PlanError says that rows of the audience cannot be sent and nothing is. It
// has CodeInvalid.
type PlanError struct {
	Total int     // rows with an error
	First []error // the first MaxRowErrors: *FieldError, *LimitError
}

func (e *PlanError) Error() string {
	var b strings.Builder
	if e.Total == 1 {
		b.WriteString("1 row cannot be sent, so nothing is planned: ")
	} else {
		fmt.Fprintf(&b, "%d rows cannot be sent, so nothing is planned: ", e.Total)
	}
	for i, err := range e.First {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	if more := e.Total - len(e.First); more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// Unwrap returns the errors of the rows.
func (e *PlanError) Unwrap() []error { return e.First }

// Planner turns an audience into batches, contact by contact. Its memory does
// not grow with the audience, but for the exact duplicate check in Seen. It is
// for one goroutine.
type Planner struct {
	r     *Renderer
	o     PlanOptions
	same  Identity
	err   error // of Emit or Resolve; planning has ended
	tally tally
	sum   PlanSummary // set by Close

	buf        renderBuffer
	key        []byte
	open       map[groupKey]*group
	order      []*group // the same, as they were opened
	last       *group   // the one a recipient was last put in
	suppressed group
	waiting    int             // recipients in open batches and in suppressed
	resolved   map[string]File // by path

	rowErrors PlanError
	closed    bool
}

// group is a batch being filled.
type group struct {
	groupKey
	recipients []PlannedRecipient
}

// groupKey is what the recipients of a batch have in common.
type groupKey struct{ file, zone string }

// NewPlanner returns a planner for the renderer's content.
func NewPlanner(r *Renderer, o PlanOptions) *Planner {
	return &Planner{
		r:        r,
		o:        o,
		same:     r.content.Identity(),
		buf:      renderBuffer{filled: make([]bool, len(r.fields))},
		tally:    newTally(r, o.Examples),
		open:     map[groupKey]*group{},
		resolved: map[string]File{},
	}
}

// Identity is what makes two recipients of the content the same.
func (c *Content) Identity() Identity {
	switch {
	case c.Channel.IsPhone():
		return ByNumber
	case c.FileColumn != "":
		return ByLetter
	case c.Household:
		return ByHousehold
	}
	return ByPost
}

// Add plans one contact. The planner keeps nothing of it. Errors of the row
// itself are collected for Close; what is returned ends the planning.
func (p *Planner) Add(c *Contact) error {
	if p.closed {
		return Errorf(CodeInternal, "planning: a contact after the end")
	}
	if p.err != nil {
		return p.err
	}
	p.tally.sum.Total++
	if reason, key, err := p.judge(c); p.err != nil {
		return p.err
	} else if err != nil {
		p.rowError(err)
	} else if reason != "" {
		p.tally.sum.Suppressed[reason]++
		p.add(&p.suppressed, PlannedRecipient{ContactID: c.ID, State: Suppressed, Reason: reason, Line: c.Line})
	} else if m, err := p.r.render(c, &p.buf); err != nil {
		p.rowError(err)
	} else {
		m.FileKey = key.file
		p.tally.count(c, &m)
		if p.o.Zone != nil {
			p.tally.countZone(key.zone)
		}
		p.add(p.group(key), PlannedRecipient{ContactID: c.ID, State: Pending, Parts: int16(m.Parts), Line: c.Line})
	}
	return p.err
}

// judge says why the contact is suppressed, if it is, and else which batch it
// belongs in. The error is the row's.
func (p *Planner) judge(c *Contact) (reason string, key groupKey, err error) {
	content := &p.r.content
	if reason := p.o.Suppresses(content, c); reason != "" {
		return reason, key, nil
	}
	key.file = p.r.fileKey
	if content.FileColumn != "" {
		if key.file, err = p.resolve(c); err != nil || p.err != nil {
			return "", key, err
		}
	}
	if p.o.Seen != nil {
		p.key = p.same.AppendKey(p.key[:0], c, key.file)
		if !p.o.Seen.AddBytes(p.key) {
			return ReasonDuplicate, key, nil
		}
	}
	if p.o.Zone != nil {
		key.zone, err = p.o.Zone(c)
	}
	return "", key, err
}

// Suppresses says why the content is not sent to a contact, whatever its text
// and files are and to whom else it goes; empty when nothing speaks against it.
func (o *PlanOptions) Suppresses(content *Content, c *Contact) (reason string) {
	switch phone := content.Channel.IsPhone(); {
	case phone && c.Phone == "", !phone && !c.Address.Complete():
		return ReasonNoDestination
	case !phone && c.Address.Fault() != nil:
		return ReasonBadAddress
	case o.OptedOut != nil && o.OptedOut(c):
		return ReasonOptedOut
	case phone && !content.FixedLines && o.TakesMessages != nil && !o.TakesMessages(c.Phone):
		return ReasonFixedLine
	}
	return ""
}

// resolve finds the key of the contact's own file. The error is the row's; any
// other is in p.err.
func (p *Planner) resolve(c *Contact) (string, error) {
	column := p.r.content.FileColumn
	path, _ := c.Field(column)
	if path = strings.TrimSpace(path); path == "" {
		return "", c.fieldError(column, "is missing or empty: give the path of this recipient's file")
	}
	f, ok := p.resolved[path]
	if !ok {
		if p.o.Resolve == nil {
			p.err = Errorf(CodeInternal, "planning: a file for every recipient, and nothing to fetch it with")
			return "", nil
		}
		var err error
		if f, err = p.o.Resolve(path); err != nil {
			if rowsFault(err) {
				return "", &FieldError{Line: c.Line, ContactID: c.ID, Field: column, Problem: "names a file that cannot be used", Err: err}
			}
			p.err = fmt.Errorf("storing the file of %s: %w", row(c.Line, c.ID), err)
			return "", nil
		}
		if len(p.resolved) == maxResolvedFiles {
			clear(p.resolved)
		}
		p.resolved[strings.Clone(path)] = f
	}
	var problems Problems
	if f.check(column, p.r.content.Channel, &problems); len(problems) > 0 {
		return "", c.fieldError(column, "names a file that cannot be used: "+problems[0].Text)
	}
	return f.Key(), nil
}

// rowsFault reports whether a file could not be had because of what the row
// says, and not because something of ours failed.
func rowsFault(err error) bool {
	code := ErrorCode(err)
	return code == CodeInvalid || code == CodeNotFound || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// rowError keeps an error of a row; nothing that is emitted later could be used.
func (p *Planner) rowError(err error) {
	p.rowErrors.Total++
	if len(p.rowErrors.First) < MaxRowErrors {
		p.rowErrors.First = append(p.rowErrors.First, err)
	}
}

// group returns the open batch for a file and a zone.
func (p *Planner) group(key groupKey) *group {
	if p.last != nil && p.last.groupKey == key {
		return p.last
	}
	g := p.open[key]
	if g == nil {
		g = &group{groupKey: groupKey{strings.Clone(key.file), strings.Clone(key.zone)}}
		p.open[g.groupKey] = g
		p.order = append(p.order, g)
	}
	p.last = g
	return g
}

// add puts a recipient into a batch, which leaves when it is full. When too
// many recipients wait in open batches, all of these leave: flushing one at a
// time would cut a file that many share to pieces among many files of one
// recipient each, or have to look for the right one.
func (p *Planner) add(g *group, r PlannedRecipient) {
	g.recipients = append(g.recipients, r)
	p.waiting++
	if len(g.recipients) == MaxBatch {
		p.emit(g)
	}
	if p.waiting == maxWaiting {
		p.flush()
	}
}

// flush emits every open batch, the one that was opened first first.
func (p *Planner) flush() {
	for _, g := range p.order {
		p.emit(g)
	}
	p.emit(&p.suppressed)
	clear(p.open)
	clear(p.order)
	p.order, p.last = p.order[:0], nil
}

// emit hands a batch over and empties it.
func (p *Planner) emit(g *group) {
	if len(g.recipients) == 0 || p.err != nil {
		return
	}
	b := PlannedBatch{FileKey: g.file, Zone: g.zone, Recipients: g.recipients}
	if b.Sendable() {
		p.tally.sum.Batches++
	}
	if p.rowErrors.Total == 0 && p.o.Emit != nil {
		if err := p.o.Emit(b); err != nil {
			p.err = err
		}
	}
	p.waiting -= len(g.recipients)
	g.recipients = g.recipients[:0]
}

// Close emits what is left and returns the summary. The error is what Add
// returned, or a *PlanError with the rows that cannot be sent; batches that
// were emitted before are then worth nothing. The summary counts all the same.
func (p *Planner) Close() (PlanSummary, error) {
	if !p.closed {
		p.closed = true
		p.flush()
		p.sum = p.tally.finish(p.buf.filled)
	}
	switch {
	case p.err != nil:
		return p.sum, p.err
	case p.rowErrors.Total > 0:
		return p.sum, &p.rowErrors
	}
	return p.sum, nil
}
