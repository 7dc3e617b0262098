// Package docs holds Postrider's documents to the program: what they link to,
// and every command, flag, make target and variable that they name, must exist,
// and the steps of getting-started.md must run and print what stands there.
package docs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/configs"
)

// document is a Markdown file, split into what is code and what is not.
type document struct {
	path   string // from this folder
	prose  []line // outside fences, code spans included
	spans  []line // code spans of the prose
	fences []fence
}

// line is a line of a document, or a part of one.
type line struct {
	number int
	text   string
}

// fence is a block of code.
type fence struct {
	language string // empty for output
	section  string // the heading above it
	lines    []line
}

func (f fence) text() string {
	var b strings.Builder
	for _, l := range f.lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

var span = regexp.MustCompile("`([^`]+)`")

// parse splits a document.
func parse(path, text string) document {
	d := document{path: path}
	section := ""
	inFence := false
	for i, text := range strings.Split(text, "\n") {
		l := line{i + 1, text}
		switch mark, found := strings.CutPrefix(text, "```"); {
		case found && !inFence:
			inFence = true
			d.fences = append(d.fences, fence{language: mark, section: section})
		case found:
			inFence = false
		case inFence:
			f := &d.fences[len(d.fences)-1]
			f.lines = append(f.lines, l)
		default:
			if strings.HasPrefix(text, "#") {
				section = strings.TrimLeft(text, "# ")
			}
			d.prose = append(d.prose, l)
			for _, m := range span.FindAllStringSubmatch(text, -1) {
				d.spans = append(d.spans, line{l.number, m[1]})
			}
		}
	}
	return d
}

// code is every piece of code of the document, line by line.
func (d *document) code() []line {
	all := slices.Clone(d.spans)
	for _, f := range d.fences {
		all = append(all, f.lines...)
	}
	return all
}

// readDocuments reads every document that users read.
func readDocuments(t *testing.T) []document {
	t.Helper()
	paths, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []document
	for _, path := range append([]string{"../README.md", "../CHANGELOG.md"}, paths...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(path, string(text)))
	}
	if len(all) < 8 {
		t.Fatalf("only %d documents were found", len(all))
	}
	return all
}

// program is the built binary and what its help knows.
type program struct {
	path string
	home string
	root *command
}

// command is a command of the program as its help describes it.
type command struct {
	children map[string]*command
	flags    map[string]bool // --name and -n, global ones included
}

// build builds the program and reads its whole help.
func build(t *testing.T) *program {
	t.Helper()
	p := &program{path: filepath.Join(t.TempDir(), "postrider"), home: t.TempDir()}
	cmd := exec.Command("go", "build", "-o", p.path, "../cmd/postrider")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p.root = p.help(t)
	if len(p.root.children) < 10 {
		t.Fatalf("the help knows only %d commands", len(p.root.children))
	}
	return p
}

// environment is that of a stranger: nothing is configured.
func (p *program) environment(more ...string) []string {
	return append([]string{"PATH=" + filepath.Dir(p.path) + ":" + os.Getenv("PATH"), "HOME=" + p.home}, more...)
}

var (
	helpChild = regexp.MustCompile(`^  ([a-z]+) +\S`)
	helpFlag  = regexp.MustCompile(`^ +(?:(-[a-z]), )?(--[a-z0-9-]+)`)
)

func (p *program) help(t *testing.T, path ...string) *command {
	t.Helper()
	cmd := exec.Command(p.path, append(slices.Clone(path), "--help")...)
	cmd.Env = p.environment()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("postrider %s --help: %v", strings.Join(path, " "), err)
	}
	c := &command{children: map[string]*command{}, flags: map[string]bool{}}
	part := ""
	for text := range strings.Lines(string(out)) {
		text = strings.TrimRight(text, "\n")
		switch {
		case strings.HasSuffix(text, ":") && !strings.HasPrefix(text, " "):
			part = text
		case part == "Available Commands:":
			if m := helpChild.FindStringSubmatch(text); m != nil && m[1] != "help" {
				c.children[m[1]] = p.help(t, append(slices.Clone(path), m[1])...)
			}
		case part == "Flags:" || part == "Global Flags:":
			if m := helpFlag.FindStringSubmatch(text); m != nil {
				c.flags[m[1]], c.flags[m[2]] = true, true
			}
		}
	}
	return c
}

// knows reports whether any command has the flag.
func (c *command) knows(flag string) bool {
	if c.flags[flag] {
		return true
	}
	for _, child := range c.children {
		if child.knows(flag) {
			return true
		}
	}
	return false
}

// call is where a piece of code calls the program: by its name, or in the
// container that stands for it.
var call = regexp.MustCompile(`(?:^|[\s;&|(/])postrider(\s.*)?$|^docker compose run .*\bcli(\s.*)$`)

// check says what is wrong with a piece of code that may call the program.
func (c *command) check(code string) error {
	if flag := strings.Fields(code); strings.HasPrefix(code, "--") {
		if name, _, _ := strings.Cut(flag[0], "="); !c.knows(name) {
			return fmt.Errorf("no command has the flag %s", name)
		}
		return nil
	}
	m := call.FindStringSubmatch(code)
	if m == nil {
		return nil
	}
	at, path, settled := c, "postrider", false
	for _, word := range words(m[1] + m[2]) {
		switch {
		case strings.HasPrefix(word, "-") && word != "-":
			name, _, _ := strings.Cut(word, "=")
			if !at.flags[name] {
				return fmt.Errorf("`%s` has no flag %s", path, name)
			}
			settled = true
		case !settled && at.children[word] != nil:
			at, path = at.children[word], path+" "+word
		case len(at.children) > 0:
			return fmt.Errorf("`%s` has no command %s", path, word)
		default:
			settled = true
		}
	}
	return nil
}

// words splits a command line as a shell would, up to its end.
func words(s string) []string {
	var all []string
	var word strings.Builder
	quote, open := rune(0), false
	end := func() {
		if open {
			all = append(all, word.String())
		}
		word.Reset()
		open = false
	}
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ' || r == '\t':
			end()
		case strings.ContainsRune("|;&>)#`", r):
			end()
			return all
		default:
			word.WriteRune(r)
			open = true
		}
	}
	end()
	return all
}

func TestWhatTheDocumentsNameExists(t *testing.T) {
	t.Parallel()
	documents := readDocuments(t)
	p := build(t)

	t.Run("commands and flags", func(t *testing.T) {
		t.Parallel()
		for _, d := range documents {
			for _, l := range d.code() {
				if err := p.root.check(l.text); err != nil {
					t.Errorf("%s:%d: %v: %s", d.path, l.number, err, l.text)
				}
			}
		}
	})
	t.Run("the README has every command", func(t *testing.T) {
		t.Parallel()
		for name := range p.root.children {
			if !strings.Contains(proseOf(documents[0]), "`postrider "+name+"`") {
				t.Errorf("README.md: its table of commands lacks `postrider %s`", name)
			}
		}
	})
	t.Run("getting started", func(t *testing.T) {
		t.Parallel()
		gettingStarted(t, p, documents)
	})
}

func TestACommandOrFlagThatIsNotThereIsFound(t *testing.T) {
	t.Parallel()
	root := &command{flags: map[string]bool{"--json": true}, children: map[string]*command{
		"send": {flags: map[string]bool{"--json": true, "--to": true, "--body": true}},
		"list": {flags: map[string]bool{"--json": true}, children: map[string]*command{
			"show": {flags: map[string]bool{"--json": true}},
		}},
	}}
	for code, wanted := range map[string]bool{
		"postrider": true,
		"postrider send --to a --body 'x --nope'":        true,
		"postrider send --nope":                          false,
		"postrider sned":                                 false,
		"CLICKSEND_API_KEY=x bin/postrider list show a":  true,
		"postrider list shwo a":                          false,
		"postrider list show --to a":                     false,
		"docker compose run --rm cli list shwo":          false,
		"docker compose run --rm cli list show customer": true,
		"--body=x":                            true,
		"--nope":                              false,
		"rm postrider.db # postrider nope":    false,
		"postrider list show a | grep --nope": true,
	} {
		if err := root.check(code); (err == nil) != wanted {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func proseOf(d document) string {
	var b strings.Builder
	for _, l := range d.prose {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

var (
	link        = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the headings of a document as links name them.
func anchors(d document) map[string]bool {
	all := map[string]bool{}
	for _, l := range d.prose {
		if title, ok := strings.CutPrefix(strings.TrimLeft(l.text, "#"), " "); ok && strings.HasPrefix(l.text, "#") {
			title = notInAnchor.ReplaceAllString(strings.ToLower(title), "")
			all[strings.ReplaceAll(title, " ", "-")] = true
		}
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	links := 0
	for _, d := range readDocuments(t) {
		for _, l := range d.prose {
			for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(l.text, ""), -1) {
				links++
				target, anchor, _ := strings.Cut(m[1], "#")
				if strings.HasPrefix(target, "https://") {
					continue
				}
				path := d.path
				if target != "" {
					path = filepath.Join(filepath.Dir(d.path), target)
				}
				text, err := os.ReadFile(path)
				if err != nil {
					t.Errorf("%s:%d: the link %s leads nowhere", d.path, l.number, m[1])
				} else if anchor != "" && !anchors(parse(path, string(text)))[anchor] {
					t.Errorf("%s:%d: %s has no heading for #%s", d.path, l.number, path, anchor)
				}
			}
		}
	}
	if links < 15 {
		t.Errorf("only %d links were found", links)
	}
}

var (
	target  = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	makes   = regexp.MustCompile(`(?:^|[;&|]\s*)make\s+([a-z][a-z-]*)`)
	varName = regexp.MustCompile(`\b(?:POSTRIDER|CLICKSEND)_[A-Z_]*[A-Z]\b`)
)

func TestMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range target.FindAllSubmatch(makefile, -1) {
		known[string(m[1])] = true
	}
	mentioned := 0
	for _, d := range readDocuments(t) {
		for _, l := range d.code() {
			for _, m := range makes.FindAllStringSubmatch(l.text, -1) {
				mentioned++
				if !known[m[1]] {
					t.Errorf("%s:%d: the Makefile has no target %s", d.path, l.number, m[1])
				}
			}
		}
	}
	if mentioned < 10 {
		t.Errorf("only %d calls of make were found", mentioned)
	}
}

// known reports whether a variable does something: it is a key of the
// configuration, it names a file that the configuration reads, or the tests read
// it.
func known(t *testing.T, name string, makefile []byte) bool {
	t.Helper()
	c, err := configs.Load(configs.LoadOptions{Dir: t.TempDir(), Env: []string{"HOME=" + t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Redacted() {
		key := strings.ToUpper(s.Key)
		if name == "POSTRIDER_"+key && !strings.HasPrefix(key, "CLICKSEND_") || name == key {
			return true
		}
	}
	// A variable that names a file is missed when the file is: anything else is
	// refused as not known, or not looked at.
	_, err = configs.Load(configs.LoadOptions{Dir: t.TempDir(), Env: []string{
		"HOME=" + t.TempDir(), name + "=" + filepath.Join(t.TempDir(), "missing"),
	}})
	if err != nil && !strings.Contains(err.Error(), "is not known") {
		return true
	}
	return bytes.Contains(makefile, []byte(name+"="))
}

func TestVariablesAreKnown(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for name, wanted := range map[string]bool{
		"POSTRIDER_RATE": true, "CLICKSEND_API_KEY": true, "CLICKSEND_API_KEY_FILE": true, "POSTRIDER_CONFIG": true, "POSTRIDER_SCALE": true,
		"POSTRIDER_CLICKSEND_API_KEY": false, "POSTRIDER_RATE_FILE": false, "POSTRIDER_NOPE": false, "CLICKSEND_NOPE": false,
	} {
		if known(t, name, makefile) != wanted {
			t.Errorf("known(%s) is %t", name, !wanted)
		}
	}
	seen := map[string]bool{}
	for _, d := range readDocuments(t) {
		for _, l := range append(slices.Clone(d.prose), d.code()...) {
			for _, name := range varName.FindAllString(l.text, -1) {
				if !seen[name] && !known(t, name, makefile) {
					t.Errorf("%s:%d: the variable %s is not known", d.path, l.number, name)
				}
				seen[name] = true
			}
		}
	}
}

var (
	exampleKey = regexp.MustCompile(`(?m)^([a-z_]+): (.*)$`)
	tableKey   = regexp.MustCompile("^\\| `([a-z_]+)` \\| (.*?) \\|")
)

func TestConfigurationHasEveryKeyWithItsDefault(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../configs/postrider.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, l := range parse("configuration.md", string(text)).prose {
		if m := tableKey.FindStringSubmatch(l.text); m != nil {
			documented[m[1]] = m[2]
		}
	}
	for _, m := range exampleKey.FindAllStringSubmatch(string(example), -1) {
		key, value := m[1], m[2]
		is, ok := documented[key]
		delete(documented, key)
		// An empty default may be described: what it leads to.
		if !ok || value != `""` && is != "`"+value+"`" {
			t.Errorf("configuration.md: the default of %s is %s, and not %q", key, value, is)
		}
	}
	for key := range documented {
		t.Errorf("configuration.md: there is no key %s", key)
	}
}

// gettingStarted runs what getting-started.md tells to type, from its fourth
// step to its seventh, and compares what is printed with what stands below.
func gettingStarted(t *testing.T, p *program, documents []document) {
	i := slices.IndexFunc(documents, func(d document) bool { return d.path == "getting-started.md" })
	if i < 0 {
		t.Fatal("getting-started.md is missing")
	}
	dir := t.TempDir()
	letter, err := os.ReadFile("../cmd/postrider/demo/letter.pdf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "letter.pdf"), letter, 0o600); err != nil {
		t.Fatal(err)
	}
	sandbox := startSandbox(t, p)
	env := p.environment("CLICKSEND_USERNAME=sandbox", "CLICKSEND_API_KEY=SANDBOX-DEMO-KEY",
		"CLICKSEND_BASE_URL=http://"+sandbox+"/v3", "POSTRIDER_DATA_DIR="+filepath.Join(dir, "data"), "POSTRIDER_RATE=50")
	var printed []string
	ran := 0
	for _, f := range documents[i].fences {
		if !slices.ContainsFunc([]string{"4. ", "5. ", "6. ", "7. "}, func(n string) bool { return strings.HasPrefix(f.section, n) }) {
			continue
		}
		if f.language == "" {
			for _, l := range f.lines {
				// The rate is another than the reader's, so that the test is quick,
				// and so is the port.
				wanted := strings.ReplaceAll(l.text, "127.0.0.1:4010", sandbox)
				if !slices.Contains(printed, wanted) && !strings.HasPrefix(wanted, "  takes about") {
					t.Errorf("getting-started.md:%d: this is not printed: %s\nbut this:\n%s", l.number, wanted, strings.Join(printed, "\n"))
				}
			}
			continue
		}
		// Nobody sits there to say yes.
		script := regexp.MustCompile(`(?m)^(postrider send (?:.*))$`).ReplaceAllStringFunc(f.text(), func(s string) string {
			if strings.Contains(s, "--yes") || strings.Contains(s, "--dry-run") {
				return s
			}
			return s + " --yes"
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, "bash", "-euc", script+"cat *.rejects.csv\n")
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("getting-started.md:%d: %v\n%s\n%s", f.lines[0].number, err, script, out)
		}
		printed = strings.Split(string(out), "\n")
		ran++
	}
	if ran < 5 {
		t.Errorf("only %d steps were found", ran)
	}
}

// startSandbox runs the sandbox until the test ends, and returns its address.
func startSandbox(t *testing.T, p *program) string {
	t.Helper()
	cmd := exec.Command(p.path, "sandbox", "--addr", "127.0.0.1:0")
	cmd.Env = p.environment()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the sandbox: %v", err)
		}
	})
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "export CLICKSEND_BASE_URL=http://"); ok {
			return strings.TrimSuffix(url, "/v3")
		}
	}
	t.Fatal("the sandbox does not say where it is")
	return ""
}
