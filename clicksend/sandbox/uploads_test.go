package sandbox

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fetch gets a file without credentials.
func (r *rig) fetch(url string) (int, []byte) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, body
}

func TestUploadsAreServedForTenMinutes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	url := r.upload("mms", tinyGIF)
	if !strings.HasPrefix(url, r.url+"/files/") || !strings.HasSuffix(url, ".gif") {
		t.Errorf("served at %s", url)
	}
	r.clock.Advance(fileLife - time.Second)
	if code, body := r.fetch(url); code != 200 || !bytes.Equal(body, tinyGIF) {
		t.Errorf("%d %q", code, body)
	}
	r.clock.Advance(time.Second)
	if code, _ := r.fetch(url); code != 404 {
		t.Errorf("%d after ten minutes", code)
	}
	if code, _ := r.fetch(r.url + "/files/../files/x"); code == 200 {
		t.Error("an unknown file was served")
	}
}

func TestUploadsComeAsBase64OrAsAForm(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	form := func(query, field, filename string, content []byte) (int, string) {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		if err := w.WriteField("note", "not the file"); err != nil {
			t.Fatal(err)
		}
		part, err := w.CreateFormFile(field, filename)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/v3/uploads"+query, &body)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(r.username, r.apiKey)
		req.Header.Set("Content-Type", w.FormDataContentType())
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if code, text := form("?convert=post", "file", "letter.pdf", tinyPDF(1)); code != 200 || !strings.Contains(text, `.pdf"`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := form("?convert=nonsense", "file", "letter.pdf", tinyPDF(1)); code != 400 {
		t.Errorf("%d %s", code, text)
	}
	if code, text := form("", "file", "empty", nil); code != 400 {
		t.Errorf("%d %s", code, text)
	}
	if got := r.ok("POST", "/v3/uploads", obj{"content": "R0lGODlhAQABAAAAACw=", "convert": "mms"}).text("file_name"); !strings.HasSuffix(got, ".gif") {
		t.Error(got)
	}
	for convert, want := range map[string]string{"fax": ".pdf", "post": ".pdf", "postcard": ".pdf", "mms": ".jpg", "csv": ".csv"} {
		if got := r.upload(convert, []byte("some document")); !strings.HasSuffix(got, want) {
			t.Errorf("convert=%s: %s", convert, got)
		}
	}
	for _, body := range []any{obj{"content": "not base64!"}, obj{"content": ""}, obj{}, "{", obj{"content": "aGk=", "convert": "mp3"}} {
		r.refused(400, "POST", "/v3/uploads", body)
	}
	r.refused(400, "POST", "/v3/uploads?convert=post", obj{"content": "JVBERi0xLjQK"}) // a PDF without pages
	if n := r.s.Stats().Uploads; n != 7 {
		t.Errorf("%d uploads counted", n)
	}
}

func TestThePagesOfAPDFAreCounted(t *testing.T) {
	t.Parallel()
	// A PDF 1.5 whose page tree lies in a compressed object stream, nested two
	// levels deep.
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := io.WriteString(z, "2 0 3 60 << /Kids [3 0 R 4 0 R] /Count 5 /Type /Pages /Resources << /Font << >> >> >> << /Type/Pages/Parent 2 0 R/Count 3 >> << /Type/Page /Parent 3 0 R >>"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	compressed := fmt.Sprintf("%%PDF-1.5\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n9 0 obj <</Type/ObjStm /N 3 /First 8 /Filter /FlateDecode /Length %d>> stream\r\n%s\nendstream endobj\n", packed.Len(), packed.Bytes())
	saved := string(tinyPDF(4)) + "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
	for name, c := range map[string]struct {
		pdf  string
		want int
	}{
		"one page":         {string(tinyPDF(1)), 1},
		"twelve pages":     {string(tinyPDF(12)), 12},
		"compressed":       {compressed, 5},
		"saved again":      {saved, 1},
		"no tree":          {"%PDF-1.4\n1 0 obj << /Type /Page >> endobj 2 0 obj <</Type/Page>> endobj", 2},
		"nothing":          {"%PDF-1.4\n", 0},
		"cut off":          {string(tinyPDF(3))[:70], 0},
		"stream never end": {"%PDF-1.4\n1 0 obj <</Type/ObjStm/FlateDecode>> stream abc", 0},
	} {
		if got := pdfPages([]byte(c.pdf)); got != c.want {
			t.Errorf("%s: %d pages, want %d", name, got, c.want)
		}
	}
}

func FuzzNoPDFBreaksThePageCount(f *testing.F) {
	f.Add(tinyPDF(2))
	f.Add([]byte("<< /Type /Pages >> << /Count 3 stream endstream obj >>"))
	f.Fuzz(func(t *testing.T, pdf []byte) {
		if n := pdfPages(pdf); n < 0 {
			t.Fatalf("%d pages", n)
		}
	})
}

func FuzzNoNumberBreaksTheDialPlan(f *testing.F) {
	for _, seed := range []string{"+61412345678", "0412 345 678", "00", "+", "+0000000", "(02) 9999-9999", "٠١٢"} {
		f.Add(seed, "AU")
	}
	p := newDialPlan()
	f.Fuzz(func(t *testing.T, raw, country string) {
		out, in, ok := p.e164([]byte("kept"), []byte(raw), countryIndex([]byte(country)))
		if !bytes.HasPrefix(out, []byte("kept")) {
			t.Fatalf("%q overwrote what was there: %q", raw, out)
		}
		if ok && (in == noCountry || out[4] != '+' || len(out) < 4+8 || len(out) > 4+16) {
			t.Fatalf("%q is taken for %q in %d", raw, out[4:], in)
		}
	})
}
