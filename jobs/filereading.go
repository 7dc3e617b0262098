package jobs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
)

// FileReading is how an audience's file is to be read, where somebody knows
// better than what is found out from its content. What does not apply to the
// file is refused.
type FileReading struct {
	Delimiter string // between cells: , ; | or tab
	Encoding  string // of the text: a label of the WHATWG's
	Sheet     string // of a workbook
	Member    string // of a zip archive
}

// AddFlags makes its flags.
func (f *FileReading) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.Delimiter, "delimiter", "", "what separates the file's cells: ',' ';' '|' or tab (default: found out)")
	flags.StringVar(&f.Encoding, "encoding", "", "encoding of the file's text, such as windows-1251 or shift_jis (default: found out)")
	flags.StringVar(&f.Sheet, "sheet", "", "sheet of a workbook (default: the first visible one with something in it)")
	flags.StringVar(&f.Member, "member", "", "file in a zip archive (default: the only list in it)")
}

// given is the name of a flag that was given; empty: none was.
func (f FileReading) given() string {
	for _, flag := range []struct{ name, value string }{{"delimiter", f.Delimiter}, {"encoding", f.Encoding}, {"sheet", f.Sheet}, {"member", f.Member}} {
		if flag.value != "" {
			return flag.name
		}
	}
	return ""
}

// Check finds the flag whose value cannot be right for any file, and says what
// is wrong with it, in words that follow its name.
func (f FileReading) Check() (flag string, err error) {
	if f.Delimiter != "" {
		if err := importer.CheckDelimiter(f.Delimiter); err != nil {
			return "delimiter", err
		}
	}
	if f.Encoding != "" {
		if err := importer.CheckEncoding(f.Encoding); err != nil {
			return "encoding", err
		}
	}
	return "", nil
}

// Stdin is how a file is named that is standard input.
const Stdin = "-"

// FileName is how a file is called in messages, and after which its report of
// dropped rows is named.
func FileName(file string) string {
	if file == Stdin {
		return "stdin"
	}
	return file
}

// openFile opens the file of an audience, or standard input, which is not ours
// to close. Size is in bytes; 0: nobody knows.
func (p *Preparer) openFile(name string) (r io.Reader, size int64, err error) {
	var file *os.File
	if name == Stdin {
		if p.Stdin == nil {
			return nil, 0, campaign.Errorf(campaign.CodeInvalid, "- is standard input, and there is none here: name a file, or list:NAME")
		}
		f, ok := p.Stdin.(*os.File)
		if !ok {
			return p.Stdin, 0, nil
		}
		file = f
	} else if file, err = p.openNamed(name); err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	switch {
	case err == nil && info.IsDir():
		err = campaign.Errorf(campaign.CodeInvalid, "%s is a folder: name a file in it: CSV, xlsx, or one of them in gz or zip", FileName(name))
	case err == nil && info.Mode().IsRegular():
		size = info.Size()
	}
	if err != nil && name != Stdin {
		err = errors.Join(err, file.Close())
	}
	return file, size, err
}

// openNamed opens a file by its name.
func (p *Preparer) openNamed(name string) (*os.File, error) {
	file, err := os.Open(p.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, campaign.Errorf(campaign.CodeNotFound, "%s: there is no such file (in %s); a stored list is named list:NAME", name, filepath.Dir(p.path(name)))
	case err != nil:
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s cannot be opened: %v", name, err)
	}
	return file, nil
}

// FromStdin reports whether the order's audience is standard input.
func (o *Order) FromStdin() bool { return o.To == Stdin }

// checkReading refuses what says how a file is read where none is, and standard
// input where nobody sits at it.
func (o *Order) checkReading() error {
	if flag := o.Reading.given(); flag != "" && strings.HasPrefix(o.To, "list:") {
		return o.errorf(flag, " means nothing with a stored list: it was read when it was imported")
	}
	if flag, err := o.Reading.Check(); err != nil {
		return o.errorf(flag, ": %w", err)
	}
	if o.FromStdin() && o.file != "" {
		return o.errorf("to", ": - is standard input, which only the command line has: name a file, or list:NAME")
	}
	return nil
}
