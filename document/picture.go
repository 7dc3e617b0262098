package document

import (
	"archive/zip"
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/bmp"
)

// maxPixels bounds what a picture may be unpacked to: 250 kB of PNG can hold a
// picture of a gigabyte.
const maxPixels = 100_000_000

// inspectPicture decodes a picture; of a moving one the first frame.
func inspectPicture(name string, content []byte, i Info) (_ Info, err error) {
	damaged := func() error {
		return fault(CodeUnreadable, name, 0, "the picture (%s) cannot be decoded: it is damaged or cut off; save it again", i.Type)
	}
	defer func() {
		if recover() != nil {
			err = damaged()
		}
	}()
	read := map[string]struct {
		config func([]byte) (image.Config, error)
		whole  func([]byte) (image.Image, error)
	}{
		"jpg": {func(b []byte) (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(b)) }, func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }},
		"png": {func(b []byte) (image.Config, error) { return png.DecodeConfig(bytes.NewReader(b)) }, func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }},
		"gif": {func(b []byte) (image.Config, error) { return gif.DecodeConfig(bytes.NewReader(b)) }, func(b []byte) (image.Image, error) { return gif.Decode(bytes.NewReader(b)) }},
		"bmp": {func(b []byte) (image.Config, error) { return bmp.DecodeConfig(bytes.NewReader(b)) }, func(b []byte) (image.Image, error) { return bmp.Decode(bytes.NewReader(b)) }},
	}[i.Type]
	c, err := read.config(content)
	if err != nil {
		return i, damaged()
	}
	i.Width, i.Height = c.Width, c.Height
	if c.Width <= 0 || c.Height <= 0 || c.Width > maxPixels/c.Height {
		return i, fault(CodeTooLarge, name, 0, "the picture has %d × %d pixels, and at most %d million are sent: make it smaller", c.Width, c.Height, maxPixels/1_000_000)
	}
	if _, err := read.whole(content); err != nil {
		return i, damaged()
	}
	return i, nil
}

// inspectDocx looks whether a Word document is whole: its table of contents is
// the last thing in the file.
func inspectDocx(name string, content []byte) error {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return fault(CodeUnreadable, name, 0, "the Word document is damaged or cut off: save it again, or save it as PDF")
	}
	for _, f := range z.File {
		if f.Name == "word/document.xml" {
			return nil
		}
	}
	return fault(CodeUnreadable, name, 0, "this is a zip archive and no Word document: save the letter as docx or PDF")
}
