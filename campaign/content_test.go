package campaign

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func storedFile(name, kind string) File {
	return File{SHA256: strings.Repeat("0123456789abcdef", 4), Name: name, Size: 1000, Type: kind}
}

func validContents() map[Channel]Content {
	media, pdf := storedFile("sale.gif", "gif"), storedFile("letter.pdf", "pdf")
	return map[Channel]Content{
		SMS:      {Channel: SMS, From: "ACME", Body: "Hi {{first_name|there}}"},
		MMS:      {Channel: MMS, From: "+61411111111", Subject: "Sale", Body: "Hi {{first_name}}", Media: &media},
		Letter:   {Channel: Letter, Files: []File{pdf}, ReturnAddressID: 5, Colour: true, Duplex: true},
		Postcard: {Channel: Postcard, Files: []File{pdf, pdf}, ReturnAddressID: 5},
	}
}

func TestContentOfEveryChannelIsAccepted(t *testing.T) {
	t.Parallel()
	for ch, c := range validContents() {
		if err := c.Validate(Limits{}); err != nil {
			t.Errorf("%s: %v", ch, err)
		}
	}
	pdf := storedFile("a.pdf", "pdf")
	more := map[string]Content{
		"shared number":      {Channel: SMS, Body: "Hi"},
		"short code":         {Channel: SMS, From: "12345", Body: "Hi"},
		"name with digits":   {Channel: SMS, From: "Acme2Go", Body: "Hi"},
		"eleven characters":  {Channel: SMS, From: "ABCDEFGHIJK", Body: "Hi"},
		"scheduled":          {Channel: SMS, Body: "Hi", Schedule: 1429170372, Country: "AU"},
		"single braces":      {Channel: SMS, Body: "a set {1, 2} and {smile}"},
		"a file each":        {Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1, TemplateUsed: true, Priority: true},
		"one postcard file":  {Channel: Postcard, Files: []File{pdf}, ReturnAddressID: 1},
		"foreign picture":    {Channel: MMS, From: "test", Subject: "S", Body: "B", Media: &File{URL: "https://example.com/a.JPEG?x=1"}},
		"foreign, no ending": {Channel: MMS, From: "test", Subject: "S", Body: "B", Media: &File{URL: "https://example.com/picture"}},
		"foreign letter":     {Channel: Letter, Files: []File{{URL: "http://example.com/a.pdf"}}, ReturnAddressID: 1},
		"converted letter":   {Channel: Letter, Files: []File{storedFile("a.docx", "docx")}, ReturnAddressID: 1},
	}
	for name, c := range more {
		if err := c.Validate(Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCannotBeSentIsRefusedByField(t *testing.T) {
	t.Parallel()
	media := func(f File) func(*Content) { return func(c *Content) { c.Media = &f } }
	files := func(f ...File) func(*Content) { return func(c *Content) { c.Files = f } }
	for _, test := range []struct {
		name    string
		channel Channel
		change  func(*Content)
		field   string
		says    string
	}{
		{"no channel", "", func(c *Content) { c.Body = "x" }, "channel", "sms, mms, letter or postcard"},
		{"sender with a space", SMS, func(c *Content) { c.From = "My Shop" }, "from", "such as MyShop"},
		{"sender with a no-break space", SMS, func(c *Content) { c.From = "My\u00a0Shop" }, "from", "such as MyShop"},
		{"sender too long", SMS, func(c *Content) { c.From = "ABCDEFGHIJKL" }, "from", "12 characters"},
		{"sender with signs", SMS, func(c *Content) { c.From = "ACME&Co" }, "from", "such as ACMECo"},
		{"sender of signs only", SMS, func(c *Content) { c.From = "!!!" }, "from", "such as ACME"},
		{"national number as sender", SMS, func(c *Content) { c.From = "0411111111" }, "from", "+61411111111"},
		{"number with spaces as sender", SMS, func(c *Content) { c.From = "+61 411 111 111" }, "from", "without spaces"},
		{"number too short as sender", SMS, func(c *Content) { c.From = "+61411" }, "from", "7 to 15 digits"},
		{"number with a leading zero as sender", SMS, func(c *Content) { c.From = "+0411111111" }, "from", "E.164"},
		{"two digits as sender", SMS, func(c *Content) { c.From = "12" }, "from", "short code"},
		{"MMS without sender", MMS, func(c *Content) { c.From = "" }, "from", "is empty"},
		{"no body", SMS, func(c *Content) { c.Body = "" }, "body", "is empty"},
		{"body of nothing", SMS, func(c *Content) { c.Body = " \n\t" }, "body", "is empty"},
		{"body of nothing once plain", SMS, func(c *Content) { c.Body, c.PlainPunctuation = "\u200b", true }, "body", "is empty"},
		{"unknown template syntax", SMS, func(c *Content) { c.Body = "Hi {{.Name}}" }, "body", "character 4"},
		{"body not UTF-8", SMS, func(c *Content) { c.Body = "Hi \xff" }, "body", "UTF-8"},
		{"too many parts", SMS, func(c *Content) { c.Body = strings.Repeat("a", 6*153+1) }, "body", "7 parts"},
		{"too many parts beside the fields", SMS, func(c *Content) { c.Body = "{{first_name|}}" + strings.Repeat("a", 6*153+1) }, "body", "7 parts"},
		{"first name of the campaigns endpoints", SMS, func(c *Content) { c.Body = "Hi (first name)" }, "body", "{{first_name}}"},
		{"last name of the campaigns endpoints", MMS, func(c *Content) { c.Body = "Hi (Last Name)" }, "body", "{{last_name}}"},
		{"opt-out link of the campaigns endpoints", SMS, func(c *Content) { c.Body = "Bye StopMsg.me/xxxxx" }, "body", "STOP"},
		{"short link of the campaigns endpoints", SMS, func(c *Content) { c.Body = "See http://smsu.io/xxxxx" }, "body", "the link itself"},
		{"other short link", SMS, func(c *Content) { c.Body = "See http://sm-su.io/xxxxx" }, "body", "the link itself"},
		{"third short link", SMS, func(c *Content) { c.Body = "See http://smsg.io/xxxxx" }, "body", "the link itself"},
		{"placeholder in the subject", MMS, func(c *Content) { c.Subject = "(First Name)" }, "subject", "{{first_name}}"},
		{"subject on SMS", SMS, func(c *Content) { c.Subject = "x" }, "subject", "only an MMS"},
		{"media on SMS", SMS, func(c *Content) { c.Media = &File{} }, "media", "only an MMS"},
		{"file on SMS", SMS, files(storedFile("a.pdf", "pdf")), "file", "no printed file"},
		{"return address on SMS", SMS, func(c *Content) { c.ReturnAddressID = 1 }, "return_address", "only letters and postcards"},
		{"no subject", MMS, func(c *Content) { c.Subject = "" }, "subject", "at most 20"},
		{"long subject", MMS, func(c *Content) { c.Subject = strings.Repeat("a", 21) }, "subject", "21 characters"},
		{"long MMS", MMS, func(c *Content) { c.Body = strings.Repeat("a", 1501) }, "body", "1501 characters"},
		{"long Unicode MMS", MMS, func(c *Content) { c.Body = strings.Repeat("ж", 501) }, "body", "501 characters"},
		{"scheduled MMS", MMS, func(c *Content) { c.Schedule = 1429170372 }, "schedule", "--at"},
		{"no media", MMS, func(c *Content) { c.Media = nil }, "media", "is missing"},
		{"media too large", MMS, media(File{SHA256: strings.Repeat("a", 64), Name: "a.gif", Size: 250_001, Type: "gif"}), "media", "250001 bytes"},
		{"empty media", MMS, media(File{SHA256: strings.Repeat("a", 64), Name: "a.gif", Type: "gif"}), "media", "is empty"},
		{"PDF as media", MMS, media(storedFile("a.pdf", "pdf")), "media", "jpg, gif, png, bmp"},
		{"media never stored", MMS, media(File{Name: "a.gif", Size: 5, Type: "gif"}), "media", "never stored"},
		{"foreign picture to convert", MMS, media(File{URL: "https://example.com/a.png"}), "media", "give the file itself"},
		{"foreign picture known to be too large", MMS, media(File{URL: "https://example.com/a.gif", Size: 250_001}), "media", "250001 bytes"},
		{"file URL", MMS, media(File{URL: "file:///etc/passwd"}), "media", "http or https"},
		{"URL with a password", MMS, media(File{URL: "https://u:secret@example.com/a.gif"}), "media", "public"},
		{"letter without file", Letter, files(), "file", "exactly one file"},
		{"letter with two files", Letter, files(storedFile("a.pdf", "pdf"), storedFile("b.pdf", "pdf")), "file", "2 were given"},
		{"letter with file and column", Letter, func(c *Content) { c.FileColumn = "pdf" }, "file", "leave one out"},
		{"column that is no name", Letter, func(c *Content) { c.Files, c.FileColumn = nil, "my pdf" }, "file_column", "name of a field"},
		{"letter without return address", Letter, func(c *Content) { c.ReturnAddressID = 0 }, "return_address", "postrider address"},
		{"letter with a body", Letter, func(c *Content) { c.Body = "x" }, "body", "printed from a file"},
		{"letter with a sender", Letter, func(c *Content) { c.From = "ACME" }, "from", "return address"},
		{"letter with plain punctuation", Letter, func(c *Content) { c.PlainPunctuation = true }, "plain_punctuation", "only SMS and MMS"},
		{"letter of an unknown type", Letter, files(storedFile("a.odt", "")), "file", "pdf, docx"},
		{"foreign letter to convert", Letter, files(File{URL: "https://example.com/a.docx"}), "file", "only pdf"},
		{"postcard without file", Postcard, files(), "file", "0 were given"},
		{"postcard with three files", Postcard, files(storedFile("a.pdf", "pdf"), storedFile("b.pdf", "pdf"), storedFile("c.pdf", "pdf")), "file", "3 were given"},
		{"postcard in colour", Postcard, func(c *Content) { c.Colour = true }, "colour", "only letters"},
		{"postcard with a file column", Postcard, func(c *Content) { c.FileColumn = "pdf" }, "file_column", "only letters"},
		{"postcard without return address", Postcard, func(c *Content) { c.ReturnAddressID = 0 }, "return_address", "every postcard"},
		{"country in words", SMS, func(c *Content) { c.Country = "Australia" }, "country", "such as AU"},
		{"schedule in milliseconds", SMS, func(c *Content) { c.Schedule = 1429170372000 }, "schedule", "unix seconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := validContents()[test.channel]
			test.change(&c)
			err := c.Validate(Limits{})
			var ps Problems
			if !errors.As(err, &ps) || ErrorCode(err) != CodeInvalid {
				t.Fatalf("error = %v, want Problems with CodeInvalid", err)
			}
			if !slices.ContainsFunc(ps, func(p Problem) bool { return p.Field == test.field && strings.Contains(p.Text, test.says) }) {
				t.Errorf("problems = %v, want one of %s that says %q", ps, test.field, test.says)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a password: %v", err)
			}
			if _, err := NewRenderer(&c, Limits{}); err == nil {
				t.Error("a renderer was made of it")
			}
		})
	}
}

func TestEverythingWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	c := Content{Channel: MMS, From: "My Shop", Body: "Hi {{"}
	var ps Problems
	if !errors.As(c.Validate(Limits{}), &ps) {
		t.Fatal("no problems")
	}
	var fields []string
	for _, p := range ps {
		fields = append(fields, p.Field)
	}
	if diff := cmp.Diff([]string{"from", "body", "subject", "media"}, fields); diff != "" {
		t.Error(diff)
	}
}

func TestTheAccountsLimitsAreParts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		setting, unicode int
		want             Limits
	}{
		{6, 0, Limits{6, false}}, {8, 1, Limits{8, true}}, {1, 0, Limits{1, false}},
		{140, 0, Limits{6, false}}, {0, 0, Limits{6, false}}, {-1, 0, Limits{6, false}}, {9, 0, Limits{6, false}},
	} {
		if got := AccountLimits(test.setting, test.unicode); got != test.want {
			t.Errorf("AccountLimits(%d, %d) = %+v, want %+v", test.setting, test.unicode, got, test.want)
		}
	}
	c := Content{Channel: SMS, Body: strings.Repeat("a", 8*153)}
	if err := c.Validate(AccountLimits(8, 0)); err != nil {
		t.Error(err)
	}
	if c.Validate(AccountLimits(140, 0)) == nil {
		t.Error("8 parts were accepted where 6 are documented")
	}
}

func TestTheDigestChangesWithWhatIsSentAndNothingElse(t *testing.T) {
	t.Parallel()
	pdf, other := storedFile("a.pdf", "pdf"), File{SHA256: strings.Repeat("f", 64), Name: "a.pdf", Size: 1000, Type: "pdf"}
	base := Content{Channel: Letter, From: "ACME", Body: "Hi", Subject: "S", Files: []File{pdf}, ReturnAddressID: 1}
	seen := map[string]string{base.Digest(): "base"}
	for name, change := range map[string]func(*Content){
		"channel": func(c *Content) { c.Channel = Postcard }, "from": func(c *Content) { c.From = "ACM" },
		"body": func(c *Content) { c.Body = "Hi!" }, "subject": func(c *Content) { c.Subject = "T" },
		"moved text": func(c *Content) { c.From, c.Body = "ACMEH", "i" },
		"file":       func(c *Content) { c.Files = []File{other} }, "two files": func(c *Content) { c.Files = []File{pdf, pdf} },
		"order": func(c *Content) { c.Files = []File{pdf, other} }, "other order": func(c *Content) { c.Files = []File{other, pdf} },
		"column": func(c *Content) { c.FileColumn = "pdf" }, "media": func(c *Content) { c.Media = &File{URL: "https://example.com/a.gif"} },
		"plain": func(c *Content) { c.PlainPunctuation = true }, "colour": func(c *Content) { c.Colour = true },
		"duplex": func(c *Content) { c.Duplex = true }, "template": func(c *Content) { c.TemplateUsed = true },
		"return address": func(c *Content) { c.ReturnAddressID = 2 },
	} {
		c := base
		change(&c)
		if was, ok := seen[c.Digest()]; ok {
			t.Errorf("%s has the digest of %s", name, was)
		}
		seen[c.Digest()] = name
	}
	same := base
	same.Schedule, same.Priority, same.Country = 1429170372, true, "AU"
	same.Files = []File{{SHA256: pdf.SHA256, Name: "b.pdf"}}
	if same.Digest() != base.Digest() {
		t.Error("hour, priority, country or a file's name change the digest")
	}
	const golden = "94bd2216e82cd63fbe46ac2dceb83528934e98722dd9fe4a2fafdc2981f16e99"
	if got := (&Content{Channel: SMS, From: "ACME", Body: "Hi {{first_name}}"}).Digest(); got != golden {
		t.Errorf("digest = %s, want %s: campaigns already stored would no longer be recognised", got, golden)
	}
}

func TestContentIsStoredAndReadWithoutLoss(t *testing.T) {
	t.Parallel()
	media := storedFile("a.gif", "gif")
	all := Content{
		Channel: MMS, From: "a", Body: "b", Subject: "c", PlainPunctuation: true, Media: &media,
		Files: []File{{URL: "https://example.com"}}, FileColumn: "d", Colour: true, Duplex: true, Priority: true,
		TemplateUsed: true, ReturnAddressID: 7, Country: "AU", Schedule: 9,
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var got Content
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewFileTellsHashSizeAndType(t *testing.T) {
	t.Parallel()
	got, err := NewFile(`C:\post\Letter.PDF`, strings.NewReader("%PDF-1.7\n"))
	want := File{SHA256: "0716f9264c9fe19f5d7455276107f3ddcc1d3497f63d60689a73558ae8a1bf5e", Name: "Letter.PDF", Size: 9, Type: "pdf"}
	if err != nil || got != want {
		t.Errorf("NewFile = %+v, %v; want %+v", got, err, want)
	}
	for _, test := range []struct{ name, head, want string }{
		{"a.gif", "GIF89a....", "gif"}, {"a.gif", "GIF87a....", "gif"}, {"a.jpeg", "\xff\xd8\xff\xe0", "jpg"},
		{"a", "\x89PNG\r\n\x1a\n", "png"}, {"a.bmp", "BM....", "bmp"}, {"a.txt", "BMW is a car", ""},
		{"a.docx", "PK\x03\x04", "docx"}, {"a.zip", "PK\x03\x04", ""}, {"a.DOC", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "doc"},
		{"a.pdf", "<html>", ""}, {"a.pdf", "", ""},
	} {
		if got := FileType(test.name, []byte(test.head)); got != test.want {
			t.Errorf("FileType(%s, %q) = %q, want %q", test.name, test.head, got, test.want)
		}
	}
	long := strings.NewReader("%PDF-" + strings.Repeat("x", 100_000))
	if f, err := NewFile("long.pdf", long); err != nil || f.Size != 100_005 || f.Type != "pdf" {
		t.Errorf("NewFile = %+v, %v", f, err)
	}
}

func TestThePagesOfAPostcard(t *testing.T) {
	t.Parallel()
	card := func(pages ...int) error {
		c := Content{Channel: Postcard, ReturnAddressID: 1}
		for _, n := range pages {
			c.Files = append(c.Files, File{SHA256: strings.Repeat("a", 64), Name: "card.pdf", Size: 1, Type: "pdf", Pages: n, PageSize: "A5"})
		}
		return c.Validate(Limits{})
	}
	for _, good := range [][]int{{2}, {1, 1}, {0}, {0, 1}, {0, 0}} { // 0: not known
		if err := card(good...); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, c := range []struct {
		pages []int
		says  string
	}{
		{[]int{1}, "file: card.pdf: the PDF has 1 page, and a postcard's only file has two"},
		{[]int{3}, "the PDF has 3 pages"},
		{[]int{1, 2}, "of a postcard's two files each has one"},
	} {
		if err := card(c.pages...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %s", c.pages, err, c.says)
		}
	}
}

func TestWhatAPersonShouldKnowOfAFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		channel Channel
		file    File
		says    string
	}{
		{Letter, File{Name: "a.pdf", Type: "pdf", Pages: 2, PageSize: "A4"}, ""},
		{Letter, File{Name: "a.docx", Type: "docx"}, "a.docx: the provider converts docx files to PDF"},
		{Postcard, File{Name: "a.pdf", Type: "pdf", Pages: 2, PageSize: "A5"}, ""},
		{Postcard, File{Name: "a.pdf", Type: "pdf", Pages: 2, PageSize: "A4"}, "its pages are A4; the provider's example postcards are A5"},
		{Postcard, File{Name: "a.pdf", Type: "pdf", Pages: 2}, "of differing sizes"},
		{Postcard, File{Name: "a.pdf", Type: "pdf"}, ""}, // never looked into
		{Letter, File{URL: "https://example.com/a.pdf"}, ""},
		{MMS, File{Name: "a.png", Type: "png"}, ""},
	} {
		got := strings.Join(c.file.Warnings(c.channel), "")
		if c.says == "" && got != "" || !strings.Contains(got, c.says) {
			t.Errorf("%s %+v: %q, want %q", c.channel, c.file, got, c.says)
		}
	}
}
