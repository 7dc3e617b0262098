package importer

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"
)

// numberFormats writes the numbers of a workbook as its cells show them.
type numberFormats struct {
	styles []*numberFormat // by the number of a cell's style
	book   *excelize.File  // a scratch one, which does the writing; made when it is needed
	cells  int             // of it, that have a format
	date   bool            // the workbook counts its days from 1904
	memory map[shown]string
}

// shown is a number in a format.
type shown struct {
	format *numberFormat
	number float64
}

// mostShown is how many numbers are remembered with what they look like: a
// column of dates repeats itself.
const mostShown = 1 << 16

type numberFormat struct {
	code    string
	cell    string // of the scratch workbook, that has this format; empty: none yet
	general bool   // a number as it is
	zeros   int    // the code is so many zeros, and nothing else
	isDate  bool
	date    dateFormat // when it is one that has only numbers in it
	percent bool
}

// newNumberFormats takes the codes of the cells' styles.
func newNumberFormats(codes []string, date1904 bool) *numberFormats {
	n := &numberFormats{date: date1904, memory: map[shown]string{}}
	byCode := map[string]*numberFormat{}
	for _, code := range codes {
		f := byCode[code]
		if f == nil {
			f = newNumberFormat(code)
			byCode[code] = f
		}
		n.styles = append(n.styles, f)
	}
	return n
}

// builtInFormat is the code of a format that workbooks refer to by number only
// (ECMA-376, numFmt). What depends on the reader's country is written in a way
// that means the same everywhere: dates as in ISO 8601, sums of money without
// their sign.
func builtInFormat(id int) string {
	switch {
	case id >= 27 && id <= 36, id >= 50 && id <= 58:
		return isoDate
	case id >= 5 && id <= 8, id >= 41 && id <= 44:
		return "#,##0.00"
	}
	return map[int]string{
		1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
		14: isoDate, 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
		22: isoDate + " hh:mm", 37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0",
		48: "##0.0E+0", 49: "@",
	}[id]
}

const isoDate = "yyyy-mm-dd"

// longestCode is that of Excel, in characters.
const longestCode = 255

func newNumberFormat(code string) *numberFormat {
	f := &numberFormat{code: code}
	switch {
	case strings.Contains(code, "[$-F800]"): // the long date of whoever looks
		f.code = isoDate
	case strings.Contains(code, "[$-F400]"): // the time of whoever looks
		f.code = "hh:mm:ss"
	case code == "", code == "@", strings.EqualFold(code, "General"), len(code) > longestCode:
		f.general = true
	case strings.Trim(code, "0") == "":
		f.zeros = len(code)
	}
	bare := bareCode(f.code)
	f.percent = strings.Contains(bare, "%")
	if f.isDate = strings.ContainsAny(bare, "ymdhs"); f.isDate {
		f.date = parseDateFormat(f.code)
	}
	return f
}

// bareCode is a format without what it shows literally and without conditions
// and colours, in lower case; [h], [m] and [s], hours that go beyond a day,
// stay.
func bareCode(code string) string {
	var b strings.Builder
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case '"':
			end := strings.IndexByte(code[i+1:], '"')
			if end < 0 {
				return b.String()
			}
			i += end + 1
		case '[':
			end := strings.IndexByte(code[i:], ']')
			if end < 0 {
				return b.String()
			}
			if in := strings.ToLower(code[i+1 : i+end]); in != "" && strings.Trim(in, in[:1]) == "" {
				b.WriteString(in)
			}
			i += end
		case '\\', '_', '*':
			i++
		default:
			b.WriteByte(c)
		}
	}
	return strings.ReplaceAll(strings.ToLower(b.String()), "general", "")
}

// append adds a number, which stands in raw as the workbook stores it, to dst as
// the cell of a style shows it. But where the cell shows less than the number,
// as 6.14E+10 does of a phone number, the number itself is added.
func (n *numberFormats) append(dst []byte, style int, raw []byte) []byte {
	f := &numberFormat{general: true}
	if style >= 0 && style < len(n.styles) {
		f = n.styles[style]
	}
	digits := onlyDigits(raw)
	switch {
	case digits && f.general && (raw[0] != '0' || len(raw) == 1):
		return append(dst, raw...)
	case digits && len(raw) <= 15 && f.zeros > 0 && (raw[0] != '0' || len(raw) == 1):
		for range f.zeros - len(raw) {
			dst = append(dst, '0')
		}
		return append(dst, raw...)
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(string(raw)), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return append(dst, raw...)
	}
	if f.general {
		return append(dst, plainNumber(v)...)
	}
	if f.date != nil {
		if out, ok := f.date.append(dst, v, n.date); ok {
			return out
		}
	}
	key := shown{f, v}
	text, ok := n.memory[key]
	if !ok {
		text = n.show(f, v)
		if len(n.memory) >= mostShown {
			clear(n.memory)
		}
		n.memory[key] = text
	}
	return append(dst, text...)
}

// show writes a number in a format.
func (n *numberFormats) show(f *numberFormat, v float64) string {
	text, err := n.write(f, v)
	if err != nil {
		return plainNumber(v)
	}
	text = strings.TrimSpace(text)
	if f.isDate || f.percent || v != math.Trunc(v) || math.Abs(v) >= 1e15 {
		if strings.ContainsAny(bareCode(f.code), "e") && !f.isDate {
			return plainNumber(v) // scientific
		}
		return text
	}
	// A whole number must be there with all of its digits.
	if number := strconv.FormatFloat(math.Abs(v), 'f', 0, 64); !strings.Contains(digitsIn(text), number) {
		return plainNumber(v)
	}
	return text
}

// write has excelize write a number in a format. A format that it cannot read
// must not end the import, whatever it does with it.
func (n *numberFormats) write(f *numberFormat, v float64) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the number format %q: %v", f.code, r)
		}
	}()
	const sheet = "Sheet1"
	if n.book == nil {
		n.book = excelize.NewFile()
		if err := n.book.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &n.date}); err != nil {
			return "", err
		}
	}
	if f.cell == "" {
		n.cells++
		cell, err := excelize.CoordinatesToCellName(1+n.cells%100, 1+n.cells/100)
		if err != nil {
			return "", err
		}
		style, err := n.book.NewStyle(&excelize.Style{CustomNumFmt: &f.code})
		if err != nil {
			return "", err
		}
		if err := n.book.SetCellStyle(sheet, cell, cell, style); err != nil {
			return "", err
		}
		f.cell = cell
	}
	if err := n.book.SetCellValue(sheet, f.cell, v); err != nil {
		return "", err
	}
	return n.book.GetCellValue(sheet, f.cell)
}

// plainNumber writes a number to the 15 digits that spreadsheets have, and
// never in powers of ten unless it has more digits than anybody reads.
func plainNumber(v float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 14, 64), 64)
	if err != nil || math.Abs(rounded) >= 1e21 || rounded != 0 && math.Abs(rounded) < 1e-15 {
		return strconv.FormatFloat(v, 'G', 15, 64)
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

func onlyDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func digitsIn(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}
