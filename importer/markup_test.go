package importer

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// flat is XML as a line of its elements and text; ok is false when it is not
// well-formed.
func flat(r io.Reader) (s string, ok bool) {
	var b strings.Builder
	x := newMarkup(r)
	for {
		token, err := x.next()
		if err != nil {
			return "", false
		}
		switch token {
		case tokenStart:
			b.WriteString("<" + string(x.name) + "|" + string(x.attr("r")) + ">")
		case tokenEnd:
			b.WriteString("</" + string(x.name) + ">")
		case tokenText:
			if x.depth > 0 {
				b.Write(x.appendText(nil))
			}
		case tokenEOF:
			return b.String(), true
		}
	}
}

// flatXML is the same by encoding/xml.
func flatXML(text string) (s string, ok bool) {
	var b strings.Builder
	d := xml.NewDecoder(strings.NewReader(text))
	depth := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String(), true
		}
		if err != nil {
			return "", false
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			r := ""
			for _, a := range t.Attr {
				if a.Name.Local == "r" && a.Name.Space == "" {
					r = a.Value
					break
				}
			}
			b.WriteString("<" + t.Name.Local + "|" + r + ">")
		case xml.EndElement:
			depth--
			b.WriteString("</" + t.Name.Local + ">")
		case xml.CharData:
			if depth > 0 {
				b.Write(t)
			}
		case xml.Directive:
			return "", false
		}
	}
}

// FuzzMarkup: what encoding/xml reads as one document, markup reads alike,
// whatever pieces it comes in.
func FuzzMarkup(f *testing.F) {
	f.Add(`<?xml version="1.0"?><x:row r="1" s='a>b'><c r="A1" t="s"><v>1 &amp; 2&#10;</v></c><c/><!-- x --><![CDATA[<&]]></x:row>`)
	f.Add("<a>\r\n &lt;&#x41;&quot;</a>\n")
	f.Add("<a r = \"x\"><b></a></b>")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := flat(strings.NewReader(text))
		slow, slowOK := flat(iotest.OneByteReader(strings.NewReader(text)))
		if got != slow || ok != slowOK {
			t.Fatalf("%q %v, and in pieces %q %v", got, ok, slow, slowOK)
		}
		want, good := flatXML(text)
		if strings.Contains(text, "]]>") || strings.Count(want, "|") == 0 || strings.Contains(want, "&") {
			return // of no use to a workbook, and encoding/xml has views of its own
		}
		if good && ok && got != want {
			t.Fatalf("%q, and encoding/xml has %q", got, want)
		}
	})
}
