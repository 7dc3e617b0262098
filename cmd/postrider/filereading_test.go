package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// reads runs a command with something on standard input.
func (s *shell) reads(in io.Reader, args ...string) *ran {
	s.t.Helper()
	var out, err locked
	m := s.main(&out, &err)
	m.Stdin = in
	code := m.Run(s.t.Context(), args)
	return &ran{s.t, args, code, out.String(), err.String()}
}

// workbook is one with a sheet of its own beside an empty one.
func workbook(t *testing.T) []byte {
	t.Helper()
	f := excelize.NewFile()
	_, err := f.NewSheet("VIPs")
	var b bytes.Buffer
	err = errors.Join(err, f.SetSheetCol("VIPs", "A1", &[]any{"phone", 61411111111}), f.SetSheetCol("VIPs", "B1", &[]any{"name", "Ann"}), f.Write(&b), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAListIsImportedFromStandardInput(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, "phone;name\n+61411111111;Ann\nnone;Ben\n")
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	rejects := filepath.Join(s.dir, "stdin.rejects.csv")
	s.reads(&packed, "list", "import", "packed", "-", "--json").exits(exitDone).
		holds(map[string]any{"rows": 2, "imported": 1, "rejected": 1, "source": "stdin", "rejects_file": rejects})
	if _, err := os.Stat(rejects); err != nil {
		t.Error(err)
	}
	s.reads(bytes.NewReader(workbook(t)), "list", "import", "book", "-", "--country", "AU").exits(exitDone).says("1 imported")
	s.reads(strings.NewReader(""), "list", "import", "none", "-").exits(exitFailed).warns("stdin: the file is empty")
	s.reads(strings.NewReader("phone\n0411\n"), "list", "import", "none", "-").exits(exitFailed).warns("stdin")
}

func TestFlagsSayHowAFileIsRead(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("book.xlsx", string(workbook(t)))
	s.file("plain.csv", "phone;note\n+61411111111;\xe8\n")
	s.run("list", "import", "a", "book.xlsx", "--sheet", "vips", "--country", "AU", "--json").exits(exitDone).holds(map[string]any{"imported": 1})
	s.run("list", "import", "b", "plain.csv", "--encoding", "windows-1251", "--delimiter", ";", "--json").exits(exitDone).holds(map[string]any{"imported": 1})
	s.run("list", "export", "b").exits(exitDone).says("и")
	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{exitUsage, []string{"plain.csv", "--delimiter", "comma"}, "--delimiter: there is no delimiter"},
		{exitUsage, []string{"plain.csv", "--encoding", "klingon"}, "--encoding: there is no encoding"},
		{exitFailed, []string{"plain.csv", "--sheet", "VIPs"}, "--sheet names a sheet of a workbook"},
		{exitFailed, []string{"plain.csv", "--member", "a.csv"}, "--member names a file in a zip archive"},
		{exitFailed, []string{"book.xlsx", "--delimiter", ","}, "--delimiter says"},
		{exitFailed, []string{"book.xlsx", "--sheet", "Leads"}, `it has "Sheet1", "VIPs"`},
	} {
		s.run(append([]string{"list", "import", "c"}, c.args...)...).exits(c.code).warns(c.says)
	}
}

func TestAnAudienceComesFromStandardInput(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	send := []string{"send", "--channel", "sms", "--body", "Hi", "--to", "-"}
	people := func() io.Reader { return strings.NewReader("phone\n+61411111111\n") }
	s.reads(people(), append(send, "--dry-run")...).exits(exitDone)
	s.reads(people(), append(send, "--yes", "--wait", "--json")...).exits(exitDone).holds(map[string]any{"total": 1, "accepted": 1})
	// Also at a terminal nobody can answer.
	at := s.at("yes\n")
	at.reads(people(), send...).exits(exitUsage).warns("--to - ", "--dry-run", "--yes")
	s.run("send", "--channel", "sms", "--body", "Hi", "--to", "list:vips", "--sheet", "a", "--dry-run").exits(exitUsage).warns("--sheet means nothing with a stored list")
	s.run("send", "--channel", "sms", "--body", "Hi", "--to", "people.csv", "--delimiter", "x", "--dry-run").exits(exitUsage).warns("--delimiter: there is no delimiter")
	s.file("campaign.yaml", "channel: sms\nto: \"-\"\nbody: Hi\n")
	s.reads(people(), "campaign", "create", "-f", "campaign.yaml").exits(exitUsage).warns("campaign.yaml:2: to: - is standard input")
	s.file("book.xlsx", string(workbook(t)))
	s.file("book.yaml", "channel: sms\nto: book.xlsx\nsheet: VIPs\ncountry: AU\nbody: Hi {{first_name}}\n")
	s.run("campaign", "create", "-f", "book.yaml", "--json").exits(exitDone).holds(map[string]any{"total": 1})
}
