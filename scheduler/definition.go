package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// The values of a definition's policies; the first of each is the default.
const (
	OverlapWait = "wait" // a run begins when the one before it has ended
	OverlapSkip = "skip"
	OverlapRun  = "run" // beside it

	LateRun  = "run"
	LateSkip = "skip"

	CatchUpLatest = "latest" // of several missed runs the newest runs
	CatchUpAll    = "all"

	MissingFail    = "fail" // a file that is not there is a failure: it may come later
	MissingNothing = "nothing"
)

// What a run sends to.
const (
	SourceList   = "list"
	SourceFile   = "file"
	SourceOutbox = "outbox"
)

// Source is where a run's audience comes from.
type Source struct {
	Kind string // list, file, outbox
	// Value is the list's name, the file's path with placeholders, or the folder.
	Value   string
	Missing string // of a file: fail, nothing
}

// Definition is a schedule.yaml.
type Definition struct {
	ledger.NewSchedule // all but Actor
	Times              *Spec
	Location           *time.Location
	Source             Source
	// Campaign is the mapping under campaign: as YAML, with the names of send's
	// flags as keys; see Order.
	Campaign string

	file         string // what it was read from
	campaignLine int
}

// maxDefinition is the largest schedule.yaml, in bytes.
const maxDefinition = 256 << 10

// ParseDefinition reads a schedule.yaml; name is what the file is called in
// errors. Everything that is wrong with it is told at once, each with its line,
// in one Error with CodeInvalid.
func ParseDefinition(name string, text []byte) (*Definition, error) {
	return parseDefinition(&definitionReader{name: name}, text)
}

// ParseNewDefinition is ParseDefinition of one that is about to be added. It
// refuses more: what was added once can always be shown and removed.
func ParseNewDefinition(name string, text []byte) (*Definition, error) {
	return parseDefinition(&definitionReader{name: name, isNew: true}, text)
}

func parseDefinition(r *definitionReader, text []byte) (*Definition, error) {
	name, d := r.name, r.read(text)
	if len(r.problems) == 0 {
		return d, nil
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int { return a.line - b.line })
	lines := make([]string, len(r.problems))
	for i, p := range r.problems {
		lines[i] = name + ":" + strconv.Itoa(p.line) + ": " + p.text
	}
	return nil, campaign.Errorf(campaign.CodeInvalid, "%s", strings.Join(lines, "\n"))
}

type problem struct {
	line int
	text string
}

type definitionReader struct {
	name     string
	isNew    bool // see ParseNewDefinition
	problems []problem
}

func (r *definitionReader) problem(line int, format string, args ...any) {
	r.problems = append(r.problems, problem{line, fmt.Sprintf(format, args...)})
}

// key is what a mapping may hold under a name.
type key func(name string, value *yaml.Node)

var scheduleName = regexp.MustCompile(`^[\pL][\pL\pN _.-]{0,63}$`)

func (r *definitionReader) read(text []byte) *Definition {
	d := &Definition{file: r.name, NewSchedule: ledger.NewSchedule{
		Spec: string(text), Overlap: OverlapWait, IfLate: LateRun, LateLimit: 6 * time.Hour, CatchUp: CatchUpLatest, Tries: 3, RetryWait: 10 * time.Minute,
	}}
	root := r.document(text)
	if root == nil {
		return d
	}
	line := map[string]int{}
	at := func(name string, fn key) key {
		return func(n string, v *yaml.Node) { line[name] = v.Line; fn(n, v) }
	}
	r.mapping("", root, map[string]key{
		"name": at("name", r.text(&d.Name, func(s string) error {
			if !scheduleName.MatchString(s) || strings.TrimSpace(s) != s {
				return fmt.Errorf("expected a letter, then letters, digits, spaces and _ . -, 64 at most")
			}
			return campaign.CheckName("schedule", s)
		})),
		"cron": at("cron", r.text(&d.Cron, func(s string) (err error) {
			d.Times, err = Parse(s)
			return err
		})),
		"timezone": at("timezone", r.text(&d.Zone, func(s string) (err error) {
			d.Location, err = Zone(s)
			return err
		})),
		"source":     at("source", func(n string, v *yaml.Node) { r.source(d, n, v) }),
		"overlap":    r.oneOf(&d.Overlap, OverlapWait, OverlapSkip, OverlapRun),
		"if_late":    r.oneOf(&d.IfLate, LateRun, LateSkip),
		"late_limit": r.duration(&d.LateLimit, time.Minute, 365*24*time.Hour),
		"catch_up":   r.oneOf(&d.CatchUp, CatchUpLatest, CatchUpAll),
		"retries": func(n string, v *yaml.Node) {
			r.mapping(n, v, map[string]key{
				"tries": r.number(&d.Tries, 1, 100),
				"wait":  r.duration(&d.RetryWait, time.Second, 24*time.Hour),
			})
		},
		"alarm":    func(n string, v *yaml.Node) { r.alarm(d, n, v) },
		"campaign": at("campaign", func(n string, v *yaml.Node) { r.campaign(d, text, n, v) }),
	})
	for _, name := range []string{"name", "cron", "timezone", "source", "campaign"} {
		if line[name] == 0 {
			r.problem(root.Line, "%s is missing: expected %s", name, map[string]string{
				"name": "a name such as nightly-letters", "cron": `an expression such as "0 2 * * *"`, "timezone": "a zone such as Australia/Sydney",
				"source": "list, file or outbox under it", "campaign": "the flags of `postrider send` under it",
			}[name])
		}
	}
	if v := line["campaign"]; r.isNew && v != 0 && d.Campaign != "" {
		if d.Source.Kind == SourceOutbox {
			r.outbox(d, v)
		}
		if o, err := d.Order(); err == nil && d.Source.Kind != SourceFile && o.Reading != (jobs.FileReading{}) {
			r.problem(v, "campaign.delimiter, encoding, sheet and member say how the file of source.file is read: leave them out with source.%s", d.Source.Kind)
		}
	}
	return d
}

// outbox looks whether a campaign can be that of an outbox, whose manifests say
// to whom each letter goes and what its file is.
func (r *definitionReader) outbox(d *Definition, line int) {
	o, err := d.Order()
	if err != nil || o.Channel == "" {
		return // told already
	}
	if o.Channel != string(campaign.Letter) {
		r.problem(line, "campaign.channel is %q: an outbox holds letters: expected letter", o.Channel)
	}
	if s, err := o.Segment(); err == nil && !s.Everybody() {
		r.problem(line, "campaign.where, exclude, sample and limit do not go with source.outbox: whatever lies there is mailed: leave them out")
	}
	if o.Dedupe == "household" {
		r.problem(line, "dedupe: household does not go with an outbox: each of its letters is somebody's own; leave it out")
	}
	if len(o.Files) > 0 || o.FileColumn != "" {
		r.problem(line, "campaign.file and campaign.file_column do not go with source.outbox: each row of a manifest names its own file: leave them out")
	}
}

// document reads the one YAML document that the text must be.
func (r *definitionReader) document(text []byte) *yaml.Node {
	if len(text) > maxDefinition {
		r.problem(1, "is larger than %d kB: a schedule is a page or two", maxDefinition>>10)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		r.problem(1, "is empty: expected name, cron, timezone, source and campaign")
		return nil
	} else if err != nil {
		r.problem(1, "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.problem(1, "holds more than one YAML document: expected one, a file for each schedule")
		return nil
	}
	return doc.Content[0]
}

// mapping reads the keys that are known under a name.
func (r *definitionReader) mapping(under string, node *yaml.Node, known map[string]key) {
	if node.Kind != yaml.MappingNode {
		what := "the file"
		if under != "" {
			what = under
		}
		r.problem(node.Line, "%s should be lines such as `key: value`: expected some of %s", what, names(known))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		full := strings.TrimPrefix(under+"."+k.Value, ".")
		fn, ok := known[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode || !ok:
			r.problem(k.Line, "%s is not known: expected one of %s", full, names(known))
		case first[k.Value] > 0:
			r.problem(k.Line, "%s is set a second time; the first is in line %d", full, first[k.Value])
		case v.Kind == yaml.AliasNode || v.Anchor != "":
			r.problem(v.Line, "%s: anchors and aliases are not read here: write the value itself", full)
		default:
			first[k.Value] = k.Line
			fn(full, v)
		}
	}
}

func names(known map[string]key) string {
	var all []string
	for k := range known {
		all = append(all, k)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// scalar reads one plain value that is not nothing.
func (r *definitionReader) scalar(name string, v *yaml.Node) (string, bool) {
	if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		r.problem(v.Line, "%s: expected one value", name)
		return "", false
	}
	return v.Value, true
}

func (r *definitionReader) text(field *string, check func(string) error) key {
	return func(name string, v *yaml.Node) {
		s, ok := r.scalar(name, v)
		switch {
		case !ok:
			return
		case v.Tag == "!!bool":
			r.problem(v.Line, "%s is %s, which YAML takes for true or false: expected a text, in quotes", name, s)
			return
		case s == "":
			r.problem(v.Line, "%s is empty: expected a text", name)
			return
		}
		if check != nil {
			if err := check(s); err != nil {
				r.problem(v.Line, "%s is %q: %v", name, s, err)
				return
			}
		}
		*field = s
	}
}

func (r *definitionReader) oneOf(field *string, allowed ...string) key {
	return func(name string, v *yaml.Node) {
		s, ok := r.scalar(name, v)
		if ok && !slices.Contains(allowed, s) {
			r.problem(v.Line, "%s is %q: expected %s", name, s, strings.Join(allowed, " or "))
			ok = false
		}
		if ok {
			*field = s
		}
	}
}

func (r *definitionReader) number(field *int, least, most int) key {
	return func(name string, v *yaml.Node) {
		s, ok := r.scalar(name, v)
		if !ok {
			return
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			r.problem(v.Line, "%s is %q: expected a whole number from %d to %d", name, s, least, most)
			return
		}
		*field = n
	}
}

func (r *definitionReader) duration(field *time.Duration, least, most time.Duration) key {
	return func(name string, v *yaml.Node) {
		s, ok := r.scalar(name, v)
		if !ok {
			return
		}
		n, err := time.ParseDuration(s)
		if err != nil || n < least || n > most {
			r.problem(v.Line, "%s is %q: expected a span of time such as 10m or 6h, from %s to %s", name, s, least, most)
			return
		}
		*field = n
	}
}

// texts reads one text or a list of them.
func (r *definitionReader) texts(field *[]string, check func(string) error) key {
	return func(name string, v *yaml.Node) {
		items := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			items = v.Content
		}
		if len(items) == 0 {
			r.problem(v.Line, "%s is empty: expected at least one", name)
		}
		for _, item := range items {
			var s string
			r.text(&s, check)(name, item)
			*field = append(*field, s)
		}
	}
}

// absolute wants a path that means the same wherever the scheduler runs.
func absolute(s string) error {
	if !filepath.IsAbs(s) {
		return errors.New("expected a whole path that begins with /: the scheduler may run in another folder")
	}
	return nil
}

func (r *definitionReader) source(d *Definition, name string, v *yaml.Node) {
	var list, file, outbox string
	missing, missingLine := MissingFail, 0
	r.mapping(name, v, map[string]key{
		SourceList: r.text(&list, nil),
		SourceFile: r.text(&file, func(s string) error {
			if err := absolute(s); err != nil {
				return err
			}
			_, err := expand(s, 0)
			return err
		}),
		SourceOutbox: r.text(&outbox, absolute),
		"missing": func(n string, v *yaml.Node) {
			missingLine = v.Line
			r.oneOf(&missing, MissingFail, MissingNothing)(n, v)
		},
	})
	given := 0
	for kind, value := range map[string]string{SourceList: list, SourceFile: file, SourceOutbox: outbox} {
		if value != "" {
			d.Source = Source{Kind: kind, Value: value}
			given++
		}
	}
	if given != 1 && len(r.problems) == 0 {
		r.problem(v.Line, "%s: expected one of list: NAME, file: PATH or outbox: FOLDER", name)
	}
	if d.Source.Kind == SourceFile {
		d.Source.Missing = missing
	} else if missingLine > 0 && given == 1 {
		r.problem(missingLine, "%s.missing goes with %s.file alone: leave it out", name, name)
	}
}

// Variables of the environment that hold something else.
var reserved = []string{"POSTRIDER_", "CLICKSEND_"}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (r *definitionReader) alarm(d *Definition, name string, v *yaml.Node) {
	a := &d.Alarm
	onLine := 0
	r.mapping(name, v, map[string]key{
		"command": r.texts(&a.Command, nil),
		"webhook": r.text(&a.Webhook, func(s string) error { _, err := checkWebhook(s); return err }),
		"secret_env": r.text(&a.SecretEnv, func(s string) error {
			if !variable.MatchString(s) {
				return errors.New("expected the name of an environment variable such as ALARM_SECRET, and never the secret itself")
			}
			for _, p := range reserved {
				if strings.HasPrefix(s, p) {
					return fmt.Errorf("variables that begin with %s are Postrider's own: expected another name, such as ALARM_SECRET", p)
				}
			}
			return nil
		}),
		"secret_file": r.text(&a.SecretFile, absolute),
		"on": func(n string, v *yaml.Node) {
			onLine = v.Line
			r.texts(&a.On, func(s string) error {
				if !slices.Contains(events, s) {
					return fmt.Errorf("expected some of %s", strings.Join(events, ", "))
				}
				return nil
			})(n, v)
		},
	})
	if len(a.Command) > 0 && a.Command[0] != "" && !filepath.IsAbs(a.Command[0]) {
		r.problem(v.Line, "%s.command begins with %q: expected the whole path of a program, and then its arguments; there is no shell", name, a.Command[0])
	}
	secrets := a.SecretEnv != "" || a.SecretFile != ""
	switch {
	case len(r.problems) > 0:
	case len(a.Command) == 0 && a.Webhook == "":
		r.problem(v.Line, "%s: expected command, webhook or both", name)
	case a.Webhook != "" && !secrets:
		r.problem(v.Line, "%s.webhook needs a secret to sign with: expected secret_env (the name of an environment variable) or secret_file (a path)", name)
	case a.SecretEnv != "" && a.SecretFile != "":
		r.problem(v.Line, "%s: expected secret_env or secret_file, not both", name)
	case a.Webhook == "" && secrets:
		r.problem(v.Line, "%s: a secret goes with webhook alone: leave it out", name)
	}
	if onLine == 0 {
		a.On = slices.Clone(defaultEvents)
	}
}

// campaign reads the order of a schedule. To whom it goes, when, and what it is
// called are the schedule's business.
func (r *definitionReader) campaign(d *Definition, text []byte, name string, v *yaml.Node) {
	before := len(r.problems)
	if v.Kind != yaml.MappingNode {
		r.problem(v.Line, "%s should be lines such as `channel: sms`", name)
		return
	}
	for i := 0; i+1 < len(v.Content); i += 2 {
		k, value := v.Content[i], v.Content[i+1]
		switch strings.ReplaceAll(k.Value, "_", "-") {
		case "to":
			r.problem(k.Line, "%s.to is not known here: source says to whom it goes", name)
		case "name":
			r.problem(k.Line, "%s.name is not known here: each run's campaign is called after the schedule and its date", name)
		case "at", "again":
			r.problem(k.Line, "%s.%s is not known here: cron says when it goes", name, k.Value)
		}
		if value.Kind == yaml.AliasNode || value.Anchor != "" {
			r.problem(value.Line, "%s.%s: anchors and aliases are not read here: write the value itself", name, k.Value)
		}
	}
	if len(r.problems) > before {
		return
	}
	d.Campaign, d.campaignLine = mappingText(text, v), v.Line
	o, err := d.Order()
	if err == nil && r.isNew {
		_, err = o.Segment()
	}
	var oe *jobs.OrderError
	switch {
	case errors.As(err, &oe):
		line, words := oe.Line, oe.Text
		if oe.Flag != "" {
			words = "." + strings.ReplaceAll(oe.Flag, "-", "_") + words
		} else {
			words = ": " + words
		}
		r.problem(max(line, v.Line), "%s%s", name, words)
		return
	case err != nil:
		r.problem(v.Line, "%s: %v", name, err)
		return
	case o.Channel == "":
		r.problem(v.Line, "%s.channel is missing: expected sms, mms, letter or postcard", name)
		return
	}
	if _, err := campaign.ParseChannel(o.Channel); err != nil {
		r.problem(v.Line, "%s.channel: %v", name, err)
	}
	if strings.Contains(o.Media, "://") {
		o.Media = ""
	}
	for _, path := range append(o.Files, o.Media) {
		if path == "" {
			continue
		}
		if err := absolute(path); err != nil {
			r.problem(v.Line, "%s: the file is %q: %v", name, path, err)
		}
	}
}

// mappingText is a mapping as YAML of its own, as many lines as it was: cut out
// of the text when it is written as a block, so that its lines keep their
// places.
func mappingText(text []byte, v *yaml.Node) string {
	if v.Style&yaml.FlowStyle != 0 || len(v.Content) == 0 || v.Content[0].Line != v.Line {
		b, err := yaml.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
	lines := strings.SplitAfter(string(text), "\n")[v.Line-1:]
	end := 1
	for ; end < len(lines); end++ {
		l := lines[end]
		// The block ends where a line begins farther to the left; what is empty, or
		// only a comment, belongs to either.
		if t := strings.TrimSpace(l); t != "" && !strings.HasPrefix(t, "#") && len(l)-len(strings.TrimLeft(l, " ")) < v.Column-1 {
			break
		}
	}
	return strings.Join(lines[:end], "")
}

// Order is the campaign that each run makes, without to, name and at.
func (d *Definition) Order() (*jobs.Order, error) {
	return jobs.ReadOrder(d.file, d.campaignLine, []byte(d.Campaign))
}

// Path is the source's path on a date: {yyyy}, {mm}, {dd}, {HH} and {MM} stand
// for the parts of the run's local time, several may stand in one pair of braces
// with - _ or . between them, and a number of days may follow: {yyyy-mm-dd -1d}
// is the day before.
func (s Source) Path(l LocalTime) (string, error) { return expand(s.Value, l) }

var (
	braces      = regexp.MustCompile(`\{[^{}]*\}`)
	placeholder = regexp.MustCompile(`^\{((?:yyyy|mm|dd|HH|MM|[-_.])+)(?: ([+-][0-9]{1,3})d)?\}$`)
)

func expand(text string, l LocalTime) (string, error) {
	var problem error
	out := braces.ReplaceAllStringFunc(text, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		if m == nil {
			problem = fmt.Errorf("%s is no placeholder: expected {yyyy}, {mm}, {dd}, {HH}, {MM}, or such as {yyyy-mm-dd -1d}", s)
			return s
		}
		t := l.clock()
		if m[2] != "" {
			days, err := strconv.Atoi(m[2])
			if err != nil {
				problem = err
			}
			t = t.AddDate(0, 0, days)
		}
		return strings.NewReplacer("yyyy", t.Format("2006"), "mm", t.Format("01"), "dd", t.Format("02"), "HH", t.Format("15"), "MM", t.Format("04")).Replace(m[1])
	})
	if problem == nil && strings.ContainsAny(out, "{}") {
		problem = errors.New("has a brace without its partner: expected placeholders such as {yyyy}")
	}
	return out, problem
}
