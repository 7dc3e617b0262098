package document

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"archive/zip"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"golang.org/x/image/bmp"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/specimen"
)

// encrypted locks a PDF; an empty user password makes one that opens for
// everybody and forbids things.
func encrypted(t testing.TB, content []byte, user, owner string) []byte {
	t.Helper()
	api.DisableConfigDir()
	conf := model.NewAESConfiguration(user, owner, 256)
	var b bytes.Buffer
	if err := api.Encrypt(bytes.NewReader(content), &b, conf); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// modern rewrites a PDF with streams of objects, as most programs write them.
func modern(t testing.TB, content []byte) []byte {
	t.Helper()
	api.DisableConfigDir()
	var b bytes.Buffer
	if err := api.Optimize(bytes.NewReader(content), &b, model.NewDefaultConfiguration()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte("/ObjStm")) {
		t.Fatal("the specimen has no stream of objects")
	}
	return b.Bytes()
}

func TestWhatAPDFIs(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte
		pages   int
		size    string
	}{
		"a letter":            {specimen.Letter("Dear Ann", 3), 3, "A4"},
		"with object streams": {modern(t, specimen.Letter("Dear Ann", 2)), 2, "A4"},
		"on its side":         {specimen.PDF{Pages: 1, Size: [2]float64{842, 595}}.Bytes(), 1, "A4"},
		"turned upright":      {specimen.PDF{Pages: 1, Size: [2]float64{842, 595}, Rotate: 90}.Bytes(), 1, "A4"},
		"a card":              {specimen.Card("Sale", 2), 2, "A5"},
		"sizes differ":        {specimen.PDF{Pages: 2, Sizes: [][2]float64{specimen.A4, specimen.A5}}.Bytes(), 2, ""},
		"odd size":            {specimen.PDF{Pages: 1, Size: [2]float64{283.46, 425.2}}.Bytes(), 1, "100 × 150 mm"},
		"no pages":            {specimen.PDF{}.Bytes(), 0, ""},
		"claims to have many": {specimen.PDF{Pages: 2, Count: 2_000_000_000}.Bytes(), 2, "A4"},
		"claims to have few":  {specimen.PDF{Pages: 3, Count: 1}.Bytes(), 3, "A4"},
		"most pages":          {specimen.Letter("", MaxPages), MaxPages, "A4"},
		"junk behind its end": {append(specimen.Letter("", 1), "\r\n\x00\x00\x00"...), 1, "A4"},
		"PDF 2.0":             {bytes.Replace(specimen.Letter("", 1), []byte("%PDF-1.4"), []byte("%PDF-2.0"), 1), 1, "A4"},
		"no table of objects": {bytes.Replace(specimen.Letter("", 2), []byte("xref"), []byte("oops"), 1), 2, "A4"},
	} {
		i, err := Inspect("a.pdf", c.content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if i.Type != "pdf" || i.Pages != c.pages || i.PageSize() != c.size || i.Encrypted || i.Bytes != len(c.content) {
			t.Errorf("%s: %d pages of %q, want %d of %q (%+v)", name, i.Pages, i.PageSize(), c.pages, c.size, i.Type)
		}
	}
}

func TestPagesInheritTheirSizeFromTheirParentAndNotFromTheirNeighbour(t *testing.T) {
	pdf := `%PDF-1.4
1 0 obj
<< /Type /Catalog /Pages 2 0 R >>
endobj
2 0 obj
<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R] /Count 3 /MediaBox [0 0 595 842] >>
endobj
3 0 obj
<< /Type /Page /Parent 2 0 R /MediaBox [595 420 0 0] /UserUnit 2 >>
endobj
4 0 obj
<< /Type /Page /Parent 2 0 R >>
endobj
5 0 obj
<< /Type /Page /Parent 2 0 R /MediaBox [-100 -100 800 1000] /CropBox [0 0 420 595] >>
endobj
trailer
<< /Root 1 0 R /Size 6 >>
%%EOF
`
	i, err := Inspect("a.pdf", []byte(pdf))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range i.Sizes {
		got = append(got, s.String())
	}
	if want := "[420 × 296 mm A4 A5]"; fmt.Sprint(got) != want {
		t.Errorf("sizes %v, want %s", got, want)
	}
}

// bad are files that nothing can be printed from.
func bad(t testing.TB) map[string]struct {
	content []byte
	code    Code
	says    string
} {
	letter := specimen.Letter("Dear Ann", 3)
	garbled := bytes.Clone(letter)
	at := bytes.Index(garbled, []byte("stream\n")) + 7
	for i := at + 4; i < at+20; i++ {
		garbled[i] = 0xff
	}
	missing := bytes.Replace(letter, []byte("6 0 R 7 0 R]"), []byte("6 0 R 99 0 R]"), 1)
	loop := bytes.Replace(letter, []byte("[5 0 R 6 0 R 7 0 R]"), []byte("[5 0 R 6 0 R 2 0 R]"), 1)
	return map[string]struct {
		content []byte
		code    Code
		says    string
	}{
		"empty":             {nil, CodeEmpty, "the file is empty"},
		"cut off":           {letter[:len(letter)*2/3], CodeUnreadable, "cut off"},
		"cut in its middle": {append(bytes.Clone(letter[:len(letter)/2]), "%%EOF"...), CodeUnreadable, "damaged"},
		"only its mark":     {[]byte("%PDF-1.4\n%%EOF\n"), CodeUnreadable, "export the PDF again"},
		"text":              {[]byte("Dear Ann"), CodeType, "use pdf, docx"},
		"a page is missing": {missing, CodeUnreadable, "a.pdf, page 3: the page is not in the file"},
		"a loop":            {loop, CodeUnreadable, "leads back to itself"},
		"garbled page":      {garbled, CodeUnreadable, "a.pdf, page 1: the page's content breaks off or is garbled"},
		"locked":            {encrypted(t, letter, "secret", "owner"), CodeEncrypted, "save it without security settings"},
		"restricted":        {encrypted(t, letter, "", "owner"), CodeEncrypted, "forbids"},
		"A5":                {specimen.Card("", 1), CodePageSize, "a.pdf, page 1: the page is A5 (148 × 210 mm), and a letter is printed on A4"},
		"US Letter":         {specimen.PDF{Pages: 3, Sizes: [][2]float64{specimen.A4, specimen.USLetter, specimen.USLetter}}.Bytes(), CodePageSize, "a.pdf, page 2: the page is US Letter (216 × 279 mm)"},
		"no pages":          {specimen.PDF{}.Bytes(), CodeNoPages, "has no page"},
		"10,000 pages":      {specimen.Letter("", 10_000), CodeManyPages, "more than 1000 pages"},
		"bomb":              {specimen.PDF{Pages: 1, Unpacked: maxUnpacked + 1}.Bytes(), CodeTooLarge, "unpacks to more than 128 MB"},
		"larger than sent":  {make([]byte, MaxSize+1), CodeTooLarge, "20.0 MB"},
	}
}

func TestALetterThatCannotBePrintedIsRefusedWithWhatToDo(t *testing.T) {
	for name, c := range bad(t) {
		_, err := CheckLetter("/home/ann/a.pdf", c.content)
		var f *Fault
		if !errors.As(err, &f) || f.Code != c.code || f.File != "a.pdf" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%+v), want %s: %s", name, err, f, c.code, c.says)
		}
		if campaign.ErrorCode(err) != campaign.CodeInvalid {
			t.Errorf("%s: the code is %s", name, campaign.ErrorCode(err))
		}
	}
}

func TestAGoodLetterIsNotRefused(t *testing.T) {
	for name, content := range map[string][]byte{
		"letter.pdf": specimen.Letter("Dear Ann", 2),
		"modern.pdf": modern(t, specimen.Letter("Dear Ann", 2)),
	} {
		c, err := CheckLetter(name, content)
		if err != nil || len(c.Warnings) > 0 {
			t.Errorf("%s: %v %q", name, err, c.Warnings)
		}
	}
	c, err := CheckLetter("wide.pdf", specimen.PDF{Pages: 1, Size: [2]float64{842, 595}}.Bytes())
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "lies on its side") {
		t.Errorf("on its side: %v %q", err, c.Warnings)
	}
	c, err = CheckLetter("a.docx", docx(t, "word/document.xml"))
	if err != nil || c.Pages != 0 || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "pages are not known") {
		t.Errorf("docx: %v %+v", err, c)
	}
	if _, err := CheckLetter("a.docx", docx(t, "xl/workbook.xml")); err == nil {
		t.Error("a workbook is printed as a letter")
	}
	if _, err := CheckLetter("a.docx", docx(t, "word/document.xml")[:60]); err == nil {
		t.Error("half a Word document is printed")
	}
}

func docx(t testing.TB, part string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create(part); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheSidesOfAPostcard(t *testing.T) {
	card := func(pages int) Source { return Source{"card.pdf", specimen.Card("Sale", pages)} }
	for name, c := range map[string]struct {
		files []Source
		code  Code
		says  string // of the error, else of the warning
	}{
		"two pages":         {[]Source{card(2)}, "", ""},
		"two files":         {[]Source{card(1), card(1)}, "", ""},
		"one page":          {[]Source{card(1)}, CodeFewPages, "has 1 page, and a postcard's only file has two"},
		"three pages":       {[]Source{card(3)}, CodeManyPages, "has 3 pages"},
		"two and one":       {[]Source{card(2), card(1)}, CodeManyPages, "each has one"},
		"no file":           {nil, "", "0 were given"},
		"three files":       {[]Source{card(1), card(1), card(1)}, "", "3 were given"},
		"A4":                {[]Source{{"card.pdf", specimen.Letter("", 2)}}, "", "its pages are A4; the provider's example postcards are A5"},
		"picture":           {[]Source{{"front.png", picture(t, "png")}, card(1)}, "", "converts png files"},
		"encrypted":         {[]Source{{"card.pdf", encrypted(t, specimen.Card("", 2), "a", "b")}}, CodeEncrypted, "encrypted"},
		"pages that differ": {[]Source{{"card.pdf", specimen.PDF{Pages: 2, Sizes: [][2]float64{specimen.A4, specimen.A5}}.Bytes()}}, "", "differing sizes"},
	} {
		checked, err := CheckPostcard(c.files...)
		said := ""
		for _, k := range checked {
			said += strings.Join(k.Warnings, "\n")
		}
		var f *Fault
		if err != nil {
			said = err.Error()
		}
		if errors.As(err, &f) != (c.code != "") || f != nil && f.Code != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if c.says == "" && said != "" || !strings.Contains(said, c.says) {
			t.Errorf("%s: said %q, want %q", name, said, c.says)
		}
	}
}

func picture(t testing.TB, kind string) []byte {
	t.Helper()
	var b bytes.Buffer
	i := image.NewPaletted(image.Rect(0, 0, 40, 30), palette.Plan9)
	var err error
	switch kind {
	case "jpg":
		err = jpeg.Encode(&b, i, nil)
	case "png":
		err = png.Encode(&b, i)
	case "gif":
		err = gif.Encode(&b, i, nil)
	case "bmp":
		err = bmp.Encode(&b, i)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestThePictureOfAnMMS(t *testing.T) {
	for _, kind := range []string{"jpg", "png", "gif", "bmp"} {
		content := picture(t, kind)
		c, err := CheckMedia("sale."+kind, content)
		if err != nil || c.Type != kind || c.Width != 40 || c.Height != 30 {
			t.Errorf("%s: %v %+v", kind, err, c)
		}
		for _, cut := range []int{len(content) / 2, 20} {
			if _, err := CheckMedia("sale."+kind, content[:cut]); err == nil || !strings.Contains(err.Error(), "cannot be decoded") {
				t.Errorf("%s cut at %d: %v", kind, cut, err)
			}
		}
	}
	huge := bytes.Clone(picture(t, "gif"))
	copy(huge[6:], "\xff\xff\xff\xff")
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"too large":      {make([]byte, campaign.MaxMediaSize+1), "at most 250000 (250 kB)"},
		"a PDF":          {specimen.Card("", 1), "use jpg, gif, png, bmp"},
		"unpacks to far": {huge, "65535 × 65535 pixels"},
	} {
		if _, err := CheckMedia("sale.gif", c.content); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
}

// TestNothingIsWrittenIntoTheHomeFolder holds pdfcpu to its word: by default it
// installs fonts and certificates there.
func TestNothingIsWrittenIntoTheHomeFolder(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	path := model.ConfigPath
	model.ConfigPath = "default"
	defer func() { model.ConfigPath = path }()
	if _, err := CheckLetter("a.pdf", specimen.Letter("Dear Ann", 1)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("left there: %v %v", left, err)
	}
}

// TestABombIsRefusedInBoundedMemory: 200 MB of blanks take 200 kB packed.
func TestABombIsRefusedInBoundedMemory(t *testing.T) {
	bomb := specimen.PDF{Pages: 1, Unpacked: 200 << 20}.Bytes()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	if _, err := CheckLetter("a.pdf", bomb); err == nil {
		t.Fatal("it was taken")
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d MB were allocated in %s", took>>20, time.Since(began))
	}
}

// FuzzInspect looks for files that take the reader down.
func FuzzInspect(f *testing.F) {
	f.Add("a.pdf", specimen.Letter("Dear Ann", 2))
	f.Add("a.pdf", modern(f, specimen.Letter("Dear Ann", 1)))
	f.Add("a.png", picture(f, "png"))
	f.Add("a.docx", docx(f, "word/document.xml"))
	for name, c := range bad(f) {
		if len(c.content) < 1<<14 {
			f.Add(name+".pdf", c.content)
		}
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		i, err := Inspect(name, content)
		var fault *Fault
		if err != nil && !errors.As(err, &fault) {
			t.Errorf("the error is no fault: %v", err)
		}
		if err == nil && i.Pages != len(i.Sizes) {
			t.Errorf("%d pages and %d sizes", i.Pages, len(i.Sizes))
		}
	})
}

func BenchmarkCheckLetter(b *testing.B) {
	for name, content := range map[string][]byte{
		"one page":       specimen.Letter("Dear Ann", 1),
		"object streams": modern(b, specimen.Letter("Dear Ann", 2)),
		"100 pages":      specimen.Letter("Dear Ann", 100),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := CheckLetter("a.pdf", content); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
