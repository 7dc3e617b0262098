package importer

// FileFacts says what a file was understood as.
type FileFacts struct {
	Format      string `json:"format"`                // csv, xlsx or jsonl
	Compression string `json:"compression,omitempty"` // gzip or zip; empty: none
	Member      string `json:"member,omitempty"`      // the file that was read in a zip archive
	Sheet       string `json:"sheet,omitempty"`       // the sheet that was read in a workbook
	Encoding    string `json:"encoding,omitempty"`    // of the text, as the WHATWG names it: utf-8, utf-16le, utf-16be, windows-1252, macintosh, or as it was told; empty for a workbook
	Delimiter   string `json:"delimiter,omitempty"`   // the character between cells; empty for a workbook and JSON lines
	HeaderLine  int    `json:"header_line,omitempty"` // on which the header stands; 0: the file has none
}
