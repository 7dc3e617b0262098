package clicksend

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// UploadsService hands files to the provider (shared/api/semantics.md,
// section 18).
type UploadsService struct{ c *Client }

// UploadLife is how long an uploaded file lives, as the documents say; their
// example shows seven days (shared/api/contradictions.md, G). Upload a file
// right before the request that needs it.
const UploadLife = 10 * time.Minute

// Convert is what an uploaded file is made into.
type Convert string

// The conversions. The empty one leaves the file as it is.
const (
	ConvertNone     Convert = ""
	ConvertFax      Convert = "fax"
	ConvertMMS      Convert = "mms"
	ConvertCSV      Convert = "csv"
	ConvertPost     Convert = "post" // letters
	ConvertPostcard Convert = "postcard"
)

// Converts lists every conversion.
func Converts() []Convert {
	return []Convert{ConvertFax, ConvertMMS, ConvertCSV, ConvertPost, ConvertPostcard}
}

// Upload is an uploaded file.
type Upload struct {
	ID         int64  `json:"upload_id"`
	FileName   string `json:"file_name"`
	DateAdded  int64  `json:"date_added"`  // unix seconds
	DateDelete int64  `json:"date_delete"` // unix seconds; see UploadLife
	UserID     int64  `json:"user_id"`
	URL        string `json:"_url"` // what media_file, file_url and file_urls take
}

// Upload uploads a file as base64 in JSON. It may be called again after any
// failure: a file too many costs nothing.
func (s *UploadsService) Upload(ctx context.Context, content []byte, convert Convert) (*Upload, error) {
	const open, end = `{"content":"`, `"}`
	body := make([]byte, 0, len(open)+base64.StdEncoding.EncodedLen(len(content))+len(end))
	body = append(body, open...)
	body = base64.StdEncoding.AppendEncode(body, content)
	body = append(body, end...)
	return s.post(ctx, len(content), convert, body, "application/json")
}

// UploadMultipart uploads a file as an HTML form does. fileName tells the
// provider the file's type; only its extension is transmitted.
func (s *UploadsService) UploadMultipart(ctx context.Context, fileName string, content []byte, convert Convert) (*Upload, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", `form-data; name="file"; filename="file`+extension(fileName)+`"`)
	header.Set("Content-Type", "application/octet-stream")
	part, err := form.CreatePart(header)
	if err == nil {
		_, err = part.Write(content)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("clicksend: build the upload's form: %w", err)
	}
	return s.post(ctx, len(content), convert, body.Bytes(), form.FormDataContentType())
}

func (s *UploadsService) post(ctx context.Context, size int, convert Convert, body []byte, contentType string) (*Upload, error) {
	const name = "POST /uploads"
	if size == 0 {
		return nil, invalid(name, "the file is empty")
	}
	if convert != ConvertNone && !slices.Contains(Converts(), convert) {
		return nil, invalid(name, "there is no conversion of that name: use fax, mms, csv, post or postcard")
	}
	query := url.Values{}
	if convert != ConvertNone {
		query.Set("convert", string(convert))
	}
	var upload Upload
	if err := s.c.call(ctx, operation{name: name, query: query, body: body, contentType: contentType, decode: into(&upload)}); err != nil {
		return nil, err
	}
	if upload.URL == "" {
		return nil, &Error{Kind: Unreadable, Op: name, HTTPStatus: 200, Message: "the answer names no URL of the uploaded file"}
	}
	return &upload, nil
}

// extension is the file name's extension if it is a plain one.
func extension(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	ext := strings.ToLower(name[i:])
	if len(ext) < 2 || len(ext) > 6 || strings.Trim(ext[1:], "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return ""
	}
	return ext
}
