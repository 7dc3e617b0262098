package campaign

import (
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Message is what one recipient is sent.
type Message struct {
	To      string  `json:"to,omitempty"`      // E.164; empty on post
	Address Address `json:"address,omitzero"`  // letters and postcards
	From    string  `json:"from,omitempty"`    // sender ID; empty is the provider's shared number
	Subject string  `json:"subject,omitempty"` // MMS
	Body    string  `json:"body,omitempty"`    // SMS and MMS
	Parts   int     `json:"parts"`             // of an SMS; 1 on every other channel
	Unicode bool    `json:"unicode,omitempty"` // the body is not GSM 03.38
	// FileKey is Content.FileKey; where the content has a FileColumn it is the
	// path that stands there, which the planner turned into the key of the
	// stored file.
	FileKey string `json:"file_key,omitempty"`
}

// FieldError says that a contact's field does not do: it is missing or empty
// and the template has no default for it, or its value cannot be sent. It has
// CodeInvalid.
type FieldError struct {
	Line      int    // of the source file; 0 when unknown
	ContactID int64  // named where the line is unknown
	Field     string // name of the field
	Problem   string // what is wrong and what to do
	Err       error  // what caused it; may be nil
}

func (e *FieldError) Error() string {
	s := fmt.Sprintf("%s: field %s %s", row(e.Line, e.ContactID), e.Field, e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the code and the cause.
func (e *FieldError) Unwrap() []error { return rowCauses(e.Err) }

// LimitError says that a rendered message is longer than what is sent uncut.
// It has CodeInvalid.
type LimitError struct {
	Line      int    // of the source file; 0 when unknown
	ContactID int64  // named where the line is unknown
	What      string // "SMS", "MMS body", "MMS subject"
	Got       int    // parts of an SMS, characters of an MMS
	Limit     int    // in the same unit
	Unicode   bool
}

func (e *LimitError) Error() string {
	unit, advice := "characters", "shorten the text or the field's value"
	if e.What == "SMS" {
		unit, advice = "parts", "shorten the text or the field's value, or raise the limit in the provider's account"
	}
	kind := ""
	if e.Unicode {
		kind = " (Unicode)"
	}
	return fmt.Sprintf("%s: the %s has %d %s%s and %d are sent, the rest would be cut off: %s",
		row(e.Line, e.ContactID), e.What, e.Got, unit, kind, e.Limit, advice)
}

// Unwrap returns the code.
func (e *LimitError) Unwrap() []error { return rowCauses(nil) }

// row names a contact without telling who it is.
func row(line int, contactID int64) string {
	if line > 0 {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("contact %d", contactID)
}

// rowCauses is what an error about a row unwraps to: its code, for ErrorCode,
// and its cause.
func rowCauses(err error) []error {
	causes := []error{&Error{Code: CodeInvalid, Message: "this row cannot be sent"}}
	if err != nil {
		causes = append(causes, err)
	}
	return causes
}

// Renderer turns contacts into messages of one content. It is safe for use by
// several goroutines.
type Renderer struct {
	content Content
	limits  Limits
	body    *template // nil on post
	subject *template // nil but on MMS
	fields  []string  // names in the templates, each once
	fileKey string
}

// NewRenderer validates the content, as Validate does, and compiles its
// templates.
func NewRenderer(c *Content, limits Limits) (*Renderer, error) {
	if err := c.Validate(limits); err != nil {
		return nil, err
	}
	r := &Renderer{content: *c, limits: limits, fileKey: c.FileKey()}
	var err error
	if c.Channel.IsPhone() {
		if r.body, err = compileTemplate(c.Body); err != nil {
			return nil, Errorf(CodeInvalid, "body %w", err)
		}
	}
	if c.Channel == MMS {
		if r.subject, err = compileTemplate(c.Subject); err != nil {
			return nil, Errorf(CodeInvalid, "subject %w", err)
		}
	}
	index := map[string]int{}
	for _, t := range []*template{r.body, r.subject} {
		if t == nil {
			continue
		}
		for i := range t.pieces {
			p := &t.pieces[i]
			if p.field == "" {
				continue
			}
			n, ok := index[p.field]
			if !ok {
				n = len(r.fields)
				index[p.field] = n
				r.fields = append(r.fields, p.field)
			}
			p.index = n
		}
	}
	return r, nil
}

// Content returns what is rendered. It must not be changed.
func (r *Renderer) Content() *Content { return &r.content }

// Fields returns the names of the fields that the content uses, each once, in
// the order of their first use in body and subject; then the file column.
func (r *Renderer) Fields() []string {
	fields := append([]string(nil), r.fields...)
	if r.content.FileColumn != "" {
		fields = append(fields, r.content.FileColumn)
	}
	return fields
}

// Required returns those of Fields that every contact must have, because they
// stand somewhere without a default.
func (r *Renderer) Required() []string {
	need := make([]bool, len(r.fields))
	for _, t := range []*template{r.body, r.subject} {
		if t == nil {
			continue
		}
		for _, p := range t.pieces {
			if p.field != "" && !p.hasDefault {
				need[p.index] = true
			}
		}
	}
	var required []string
	for i, f := range r.fields {
		if need[i] {
			required = append(required, f)
		}
	}
	if r.content.FileColumn != "" {
		required = append(required, r.content.FileColumn)
	}
	return required
}

// Render makes the message of one contact. The error is a *FieldError, also
// for a contact without a destination (which planning has suppressed), or a
// *LimitError.
func (r *Renderer) Render(c *Contact) (Message, error) {
	var b renderBuffer
	m, err := r.render(c, &b)
	if err != nil {
		return Message{}, err
	}
	// The views into b are cloned, not kept, so that a long buffer behind a
	// short body is not held.
	m.Body, m.Subject = strings.Clone(m.Body), strings.Clone(m.Subject)
	return m.Message, nil
}

// renderBuffer is the memory of one rendering, to be used again for the next.
type renderBuffer struct {
	body, subject, scratch []byte
	filled                 []bool // by field: a contact had a value for it; nil when nobody asks
}

// rendered is a message whose Body and Subject are only valid until the
// renderBuffer is used again.
type rendered struct {
	Message
	parts Parts // of the body
}

// render is Render into reused memory.
func (r *Renderer) render(c *Contact, b *renderBuffer) (rendered, error) {
	m := rendered{Message: Message{From: r.content.From, FileKey: r.fileKey, Parts: 1}}
	if r.content.Channel.IsPost() {
		m.Address = c.Address
		if missing := c.Address.Missing(); len(missing) > 0 {
			return m, c.fieldError(missing[0], "is empty, and a letter or postcard needs it")
		}
		if r.content.FileColumn != "" {
			key, _ := c.Field(r.content.FileColumn)
			if key = strings.TrimSpace(key); key == "" {
				return m, c.fieldError(r.content.FileColumn, "is missing or empty: give the path of this recipient's file")
			}
			m.FileKey = key
		}
		return m, nil
	}

	if m.To = c.Phone; m.To == "" {
		return m, c.fieldError("phone", "is empty, and a message needs it")
	}
	var err error
	if m.Body, b.body, err = r.fill(r.body, c, b.body[:0], b); err != nil {
		return m, err
	}
	m.parts = CountParts(m.Body)
	m.Unicode = m.parts.Unicode
	if r.content.Channel == SMS {
		if m.Parts = m.parts.Count; m.Parts > r.limits.maxParts() {
			return m, &LimitError{Line: c.Line, ContactID: c.ID, What: "SMS", Got: m.Parts, Limit: r.limits.maxParts(), Unicode: m.Unicode}
		}
		return m, nil
	}
	if limit := mmsBodyLimit(m.parts); m.parts.Units > limit {
		return m, &LimitError{Line: c.Line, ContactID: c.ID, What: "MMS body", Got: m.parts.Units, Limit: limit, Unicode: m.Unicode}
	}
	if m.Subject, b.subject, err = r.fill(r.subject, c, b.subject[:0], b); err != nil {
		return m, err
	}
	if n := utf16Units(m.Subject); n > MaxSubject {
		return m, &LimitError{Line: c.Line, ContactID: c.ID, What: "MMS subject", Got: n, Limit: MaxSubject}
	}
	return m, nil
}

// fill renders a template into dst. The text returned is a view of dst, or of
// the template itself where that has no fields.
func (r *Renderer) fill(t *template, c *Contact, dst []byte, b *renderBuffer) (string, []byte, error) {
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.field == "" {
			dst = append(dst, p.text...)
			continue
		}
		value, _ := c.Field(p.field)
		switch {
		case !blank(value):
			if !utf8.ValidString(value) {
				return "", dst, c.fieldError(p.field, "is not valid UTF-8: import the file again with its right encoding")
			}
			if b.filled != nil {
				b.filled[p.index] = true
			}
			dst = append(dst, value...)
		case p.hasDefault:
			dst = append(dst, p.text...)
		default:
			return "", dst, c.fieldError(p.field, fmt.Sprintf("is missing or empty: fill it in, or give a default such as {{%s|there}}", p.field))
		}
	}
	if r.content.PlainPunctuation {
		b.scratch = appendPlain(b.scratch[:0], view(dst))
		dst, b.scratch = b.scratch, dst
	}
	text := view(dst)
	if blank(text) {
		return "", dst, c.fieldError(t.onlyField(), "leaves the message without any text: fill it in, or write some text around it")
	}
	return text, dst, nil
}

// onlyField is the first field of the template, which is to blame when nothing
// was rendered.
func (t *template) onlyField() string {
	for _, p := range t.pieces {
		if p.field != "" {
			return p.field
		}
	}
	return ""
}

func (c *Contact) fieldError(field, problem string) error {
	return &FieldError{Line: c.Line, ContactID: c.ID, Field: field, Problem: problem}
}

// blank reports whether s is empty or white space.
func blank(s string) bool {
	return s == "" || s[0] <= ' ' && strings.TrimSpace(s) == "" || s[0] >= utf8.RuneSelf && strings.TrimSpace(s) == ""
}

// view is b as a string without a copy. It is valid until b is written again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
