package document

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// Checked is a file that can be sent, and what a person should know of it
// before saying yes.
type Checked struct {
	Info
	Warnings []string
}

// File describes the file for a plan. Its hash is missing until it is stored.
func (c *Checked) File(name string) campaign.File {
	return campaign.File{Name: base(name), Size: int64(c.Bytes), Type: c.Type, Pages: c.Pages, PageSize: c.PageSize()}
}

// Check looks into a file and judges it for a channel. What concerns several
// files together, the sides of a postcard, is left to CheckPostcard and to
// campaign.Content.Validate. The error is a *Fault.
func Check(ch campaign.Channel, name string, content []byte) (Checked, error) {
	switch ch {
	case campaign.MMS:
		return CheckMedia(name, content)
	case campaign.Letter:
		return CheckLetter(name, content)
	}
	return checkPrinted(ch, name, content)
}

// CheckLetter judges the file of a letter: of a type that is printed, whole,
// not encrypted, and every page of a PDF an A4 sheet, upright or on its side.
// The pages of docx, doc and pictures are known only once the provider has
// converted them, which a warning says. The error is a *Fault.
func CheckLetter(name string, content []byte) (Checked, error) {
	c, err := checkPrinted(campaign.Letter, name, content)
	if err != nil {
		return c, err
	}
	for i, s := range c.Sizes {
		if !s.is(a4) {
			return c, fault(CodePageSize, name, i+1, "the page is %s, and a letter is printed on A4 (210 × 297 mm): set the page size to A4 and export it again", s.found())
		}
	}
	if len(c.Sizes) > 0 && c.Sizes[0].IsLandscapeOf(a4) {
		c.Warnings = append(c.Warnings, base(name)+": page 1 lies on its side (297 × 210 mm), and the address of a letter stands on an upright page: see how it looks before sending many")
	}
	return c, nil
}

// found names a size and its millimetres.
func (s Size) found() string {
	millimetres := fmt.Sprintf("%.0f × %.0f mm", s.Width, s.Height)
	for _, known := range []struct {
		name string
		size Size
	}{{"A5", a5}, {"A3", Size{297, 420}}, {"A6", Size{105, 148}}, {"US Letter", Size{215.9, 279.4}}, {"US Legal", Size{215.9, 355.6}}} {
		if s.is(known.size) {
			return known.name + " (" + millimetres + ")"
		}
	}
	return millimetres
}

// Source is a file of a postcard.
type Source struct {
	Name    string
	Content []byte
}

// CheckPostcard judges the one file of two pages, or the two of one page
// (front, then back), of a postcard. A size other than A5 is only warned of, as
// campaign.File.Warnings explains. The error is a *Fault, or says how many files a postcard has.
func CheckPostcard(files ...Source) ([]Checked, error) {
	if n := len(files); n < 1 || n > campaign.MaxPostcardFiles {
		return nil, campaign.Errorf(campaign.CodeInvalid, "a postcard has one file with two pages, or two (front, then back), and %d were given", n)
	}
	all := make([]Checked, len(files))
	for i, f := range files {
		c, err := checkPrinted(campaign.Postcard, f.Name, f.Content)
		if err != nil {
			return nil, err
		}
		if want, ok := campaign.PostcardPages(len(files), c.Pages); !ok {
			code := CodeManyPages
			if c.Pages < want {
				code = CodeFewPages
			}
			return nil, fault(code, f.Name, 0, "%s", campaign.PostcardPagesText(len(files), c.Pages))
		}
		all[i] = c
	}
	return all, nil
}

// checkPrinted judges what letters and postcards have in common.
func checkPrinted(ch campaign.Channel, name string, content []byte) (Checked, error) {
	if len(content) > MaxSize {
		return Checked{Info: Info{Bytes: len(content)}}, fault(CodeTooLarge, name, 0, "the file has %.1f MB, and at most %d are sent: make its pictures smaller", float64(len(content))/(1<<20), MaxSize>>20)
	}
	info, err := Inspect(name, content)
	c := Checked{Info: info}
	switch types := campaign.FileTypes(ch); {
	case err != nil:
		return c, err
	case !slices.Contains(types, info.Type):
		return c, fault(CodeType, name, 0, "the file is of no type that is printed: use %s", strings.Join(types, ", "))
	case info.Encrypted:
		return c, fault(CodeEncrypted, name, 0, "the PDF is encrypted (it has a password, or forbids printing or changing): save it without security settings")
	case info.Type == "pdf" && info.Pages == 0:
		return c, fault(CodeNoPages, name, 0, "the PDF has no page: %s", exportAgain)
	}
	f := c.File(name)
	c.Warnings = f.Warnings(ch)
	return c, nil
}

// CheckMedia judges the picture of an MMS: its type, its 250 kB, and whether it
// decodes. png and bmp are converted by the upload. The error is a *Fault.
func CheckMedia(name string, content []byte) (Checked, error) {
	if len(content) > campaign.MaxMediaSize {
		return Checked{Info: Info{Bytes: len(content)}}, fault(CodeTooLarge, name, 0, "the file has %d bytes, and an MMS file at most %d (250 kB): make it smaller", len(content), campaign.MaxMediaSize)
	}
	info, err := Inspect(name, content)
	if types := campaign.FileTypes(campaign.MMS); err == nil && !slices.Contains(types, info.Type) {
		err = fault(CodeType, name, 0, "the file is not of a type that an MMS can have: use %s", strings.Join(types, ", "))
	}
	return Checked{Info: info}, err
}
