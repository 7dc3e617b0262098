package sandbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// fileLife is how long an uploaded file can be used (shared/api/semantics.md,
// section 18).
const fileLife = 10 * time.Minute

// shownLife is what date_delete says instead: seven days, as in the documents'
// example. A client that believes it is wrong.
const shownLife = 7 * 24 * time.Hour

// file is an uploaded file.
type file struct {
	id      int64
	name    string
	content []byte
	convert string
	kind    string // sniffed media type
	picture bool   // GIF, JPEG or PNG
	pages   int    // of a PDF; 1 of anything else
	added   time.Time
}

// fileStore holds the files that are alive. Server.mu guards it.
type fileStore struct {
	byName map[string]*file
	queue  []*file // by age
	hosts  map[string]bool
	lastID int64
}

// expire forgets files that are too old.
func (f *fileStore) expire(now time.Time) {
	for len(f.queue) > 0 && now.Sub(f.queue[0].added) >= fileLife {
		delete(f.byName, f.queue[0].name)
		f.queue[0] = nil
		f.queue = f.queue[1:]
	}
}

func uploadRoutes() []route {
	return []route{{method: "POST", pattern: "/uploads", handle: upload}}
}

// conversions are the values of convert, with the extension that each gives a
// file which is not in its target format already; the documents name no target
// for csv.
var conversions = map[string]string{"": "", "fax": ".pdf", "post": ".pdf", "postcard": ".pdf", "mms": ".jpg", "csv": ".csv"}

// upload keeps a file. The sandbox converts nothing: the bytes are served as
// they came, under the extension that a conversion would have given them.
func upload(q *call, out []byte) ([]byte, *apiError) {
	query := q.r.URL.Query()
	convert := query.Get("convert")
	var content []byte
	var fail *apiError
	mediaType, params, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if mediaType == "multipart/form-data" {
		content, fail = readForm(q.body, params["boundary"])
	} else {
		content, fail = q.readBase64(&convert)
	}
	if fail != nil {
		return nil, fail
	}
	target, known := conversions[convert]
	if !known {
		return nil, badRequest("convert must be fax, mms, csv, post or postcard.")
	}
	if len(content) == 0 {
		return nil, badRequest("The file is empty.")
	}
	f := &file{content: content, convert: convert, kind: http.DetectContentType(content), added: q.now, pages: 1}
	f.picture = f.kind == "image/gif" || f.kind == "image/jpeg" || f.kind == "image/png"
	extension := map[string]string{"image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png", "application/pdf": ".pdf"}[f.kind]
	if target != "" && !(convert == "mms" && f.picture) {
		extension = target
	}
	if f.kind == "application/pdf" {
		if f.pages = pdfPages(content); f.pages == 0 {
			return nil, badRequest("The PDF has no pages that can be found.")
		}
	}
	s := q.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.expire(q.now)
	s.files.lastID++
	f.id = s.files.lastID
	hi, lo := s.ghostID()
	f.name = string(appendUUID(nil, hi, lo)) + extension
	s.files.byName[f.name] = f
	s.files.queue = append(s.files.queue, f)
	s.files.hosts[q.r.Host] = true
	s.count.uploads++
	out = append(begin(out, "Your file has been uploaded."), `{"upload_id":`...)
	out = appendInt(out, f.id)
	out = appendField(out, "file_name", f.name)
	out = appendIntField(out, "date_added", q.now.Unix())
	out = appendIntField(out, "date_delete", q.now.Add(shownLife).Unix())
	out = appendIntField(out, "user_id", q.a.id)
	out = appendField(out, "_url", q.origin()+"/files/"+f.name)
	return append(out, '}', '}'), nil
}

// origin is how the client reached the sandbox.
func (q *call) origin() string {
	if q.r.TLS != nil {
		return "https://" + q.r.Host
	}
	return "http://" + q.r.Host
}

func (q *call) readBase64(convert *string) ([]byte, *apiError) {
	var content, inBody []byte
	fail := q.enter(func(c *cursor, name []byte) bool {
		switch string(name) {
		case "content":
			return c.text(&content)
		case "convert":
			return c.text(&inBody)
		}
		return c.skip()
	})
	if fail != nil {
		return nil, fail
	}
	if *convert == "" {
		*convert = string(inBody)
	}
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(content)))
	n, err := base64.StdEncoding.Decode(plain, content)
	if err != nil {
		return nil, badRequest("content is not base64.")
	}
	return plain[:n], nil
}

// readForm returns the first file of a multipart form.
func readForm(body []byte, boundary string) ([]byte, *apiError) {
	if boundary == "" {
		return nil, badRequest("The multipart form has no boundary.")
	}
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, badRequest("The multipart form holds no file.")
		}
		if err != nil {
			return nil, badRequest("The multipart form cannot be read.")
		}
		if part.FileName() == "" {
			continue
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, badRequest("The multipart form cannot be read.")
		}
		return content, nil
	}
}

// serveFile serves an uploaded file while it is alive, to anybody: the
// provider's files are public.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	now := s.opts.Clock()
	s.mu.Lock()
	s.files.expire(now)
	f := s.files.byName[path.Base(r.URL.Path)]
	s.mu.Unlock()
	if f == nil || r.URL.Path != "/files/"+f.name {
		writeError(w, notFound("The file does not exist, or has expired: files live 10 minutes."))
		return
	}
	w.Header().Set("Content-Type", f.kind)
	http.ServeContent(w, r, "", f.added, bytes.NewReader(f.content))
}

// lookFile judges a file's address. own tells whether it lies in this sandbox,
// and then f is the file, or nil when it is unknown or has expired. Any other
// web address is believed unfetched.
func (q *call) lookFile(address []byte) (f *file, own, ok bool) {
	u, err := url.Parse(string(address))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, false, false
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	name, here := strings.CutPrefix(u.Path, "/files/")
	if !here || u.Host != q.r.Host && !q.s.files.hosts[u.Host] {
		return nil, false, true
	}
	q.s.files.expire(q.now)
	f = q.s.files.byName[name]
	return f, true, f != nil
}

// printable judges a file for a letter or postcard and counts its pages: one
// of the sandbox's own must be alive, and a PDF unless it was converted. A file
// elsewhere counts as one page.
func (q *call) printable(address []byte, field string) (pages int, fail *apiError) {
	f, own, ok := q.lookFile(address)
	switch {
	case !ok && own:
		return 0, badRequest(field + " names a file that does not exist or has expired: files live 10 minutes after the upload.")
	case !ok:
		return 0, badRequest(field + " is not a web address.")
	case !own:
		return 1, nil
	case f.kind != "application/pdf" && f.convert != "post" && f.convert != "postcard":
		return 0, badRequest(field + " is not a PDF: upload it with convert=post or convert=postcard.")
	}
	return f.pages, nil
}
