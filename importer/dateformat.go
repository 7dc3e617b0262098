package importer

import (
	"math"
	"strings"
	"time"
)

// dateFormat is a format for dates and times that has only numbers in it, such
// as dd.mm.yyyy hh:mm. Excelize takes 25 µs for each, which a column of times,
// no two alike, would multiply by every row. Any other format is left to it, and
// so is a number that is no whole second.
type dateFormat []datePart

// datePart is one of y, m, d, h, s, i (minutes) so many times, a (AM or PM), or
// a literal.
type datePart struct {
	what  byte // 0: literal
	count int
	text  string
}

// parseDateFormat returns nil for a format that it does not know.
func parseDateFormat(code string) dateFormat {
	code, _ = strings.CutSuffix(code, ";@")
	code = strings.ReplaceAll(strings.ReplaceAll(code, `\-`, "-"), `\ `, " ")
	var f dateFormat
	for i := 0; i < len(code); {
		c := code[i] | 0x20 // in lower case
		switch {
		case len(code) >= i+5 && strings.EqualFold(code[i:i+5], "AM/PM"):
			f = append(f, datePart{what: 'a'})
			i += 5
		case strings.IndexByte("ymdhs", c) >= 0:
			n := 1
			for i+n < len(code) && code[i+n]|0x20 == c {
				n++
			}
			f = append(f, datePart{what: c, count: n})
			i += n
		case strings.IndexByte("-/.: ,", code[i]) >= 0:
			f = append(f, datePart{text: code[i : i+1]})
			i++
		default:
			return nil
		}
	}
	return f.checked()
}

// checked tells minutes from months, and returns nil when a part is not a
// number of the usual length.
func (f dateFormat) checked() dateFormat {
	clock := -1 // the place of the hours or seconds before
	found := false
	for i := range f {
		p := &f[i]
		switch {
		case p.what == 'm' && p.count <= 2:
			if clock >= 0 && f[clock].what == 'h' {
				p.what = 'i'
			} else if next := f.after(i); next != nil && next.what == 's' {
				p.what = 'i'
			}
			clock = -1
		case p.what == 'h' && p.count <= 2, p.what == 's' && p.count <= 2:
			clock = i
		case p.what == 'd' && p.count <= 2, p.what == 'y' && (p.count == 2 || p.count == 4):
			clock = -1
		case p.what == 'a', p.what == 0:
			continue
		default:
			return nil
		}
		found = true
	}
	if !found {
		return nil
	}
	return f
}

// after is the next part behind i that is no literal.
func (f dateFormat) after(i int) *datePart {
	for i++; i < len(f); i++ {
		if f[i].what != 0 {
			return &f[i]
		}
	}
	return nil
}

// Days from the spreadsheets' beginning of time. Below the first, Excel has a
// 29 February 1900, which never was; above the last it shows nothing.
const (
	firstDay = 61
	lastDay  = 2958465 // 9999-12-31
	days1904 = 1462    // from the one beginning to the other
)

// append writes the moment of a number; it is not ok when that is left to
// excelize.
func (f dateFormat) append(dst []byte, v float64, date1904 bool) (_ []byte, ok bool) {
	if date1904 {
		v += days1904
	}
	seconds := math.Round(v * 86400)
	if v < firstDay || seconds >= (lastDay+1)*86400 || math.Abs(v*86400-seconds) > 1e-3 {
		return dst, false
	}
	t := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(seconds)/86400).Add(time.Duration(int(seconds)%86400) * time.Second)
	hour := t.Hour()
	for _, p := range f {
		if p.what == 'a' {
			hour = (hour+11)%12 + 1
		}
	}
	for _, p := range f {
		switch p.what {
		case 0:
			dst = append(dst, p.text...)
		case 'a':
			dst = t.AppendFormat(dst, "PM")
		case 'y':
			if p.count == 2 {
				dst = appendPadded(dst, t.Year()%100, 2)
			} else {
				dst = appendPadded(dst, t.Year(), 4)
			}
		case 'm':
			dst = appendPadded(dst, int(t.Month()), p.count)
		case 'd':
			dst = appendPadded(dst, t.Day(), p.count)
		case 'h':
			dst = appendPadded(dst, hour, p.count)
		case 'i':
			dst = appendPadded(dst, t.Minute(), p.count)
		case 's':
			dst = appendPadded(dst, t.Second(), p.count)
		}
	}
	return dst, true
}

// appendPadded writes n with at least so many digits.
func appendPadded(dst []byte, n, digits int) []byte {
	var room [8]byte
	i := len(room)
	for ; n > 0 || len(room)-i < digits; n /= 10 {
		i--
		room[i] = byte('0' + n%10)
	}
	return append(dst, room[i:]...)
}
