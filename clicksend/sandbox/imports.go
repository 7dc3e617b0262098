package sandbox

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"time"
)

// importing is an import under way: its rows become contacts as time passes.
type importing struct {
	list   *contactList
	rows   []string // packed; those that can be no contact are not among them
	landed int
	begins time.Time
}

// land turns the rows of imports into contacts that would be there by now.
// Server.mu must be held.
func (q *call) land() {
	under := q.a.book.importing[:0]
	for _, im := range q.a.book.importing {
		due := len(im.rows)
		if since := q.now.Sub(im.begins); since < 0 {
			due = 0
		} else if rate := q.s.opts.Imports.RowsPerSecond; rate > 0 {
			due = int(min(float64(due), since.Seconds()*float64(rate)))
		}
		for ; im.landed < due; im.landed++ {
			q.add(im.list, im.rows[im.landed])
			im.rows[im.landed] = ""
		}
		if im.landed < len(im.rows) {
			under = append(under, im)
		}
	}
	clear(q.a.book.importing[len(under):])
	q.a.book.importing = under
}

// importContacts queues a file. What is wrong with a row is told to nobody,
// since no document names a way to learn of it: the row is passed over.
func importContacts(q *call, out []byte) ([]byte, *apiError) {
	address, order, fail := q.readImport()
	if fail != nil {
		return nil, fail
	}
	f, own, ok := q.lookFile(address)
	switch {
	case !ok && own:
		return nil, badRequest("file_url names a file that does not exist or has expired: files live 10 minutes after the upload.")
	case !ok:
		return nil, badRequest("file_url is not a web address.")
	case own && f.convert != "csv":
		return nil, badRequest("file_url names a file that was not uploaded with convert=csv.")
	}
	var rows []string
	if own { // a file elsewhere is not fetched: none of its rows arrives
		rows = q.readRows(f.content, order)
	}
	if q.drawn.has[faultImportLoses] && len(rows) > 0 {
		rows = q.loseRows(rows)
	}
	begins := q.now.Add(q.s.opts.Imports.Delay)
	if q.drawn.has[faultImportSlow] {
		begins = begins.Add(q.drawn.slowBy)
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	if !q.drawn.has[faultDropped] {
		q.a.book.importing = append(q.a.book.importing, &importing{list: li, rows: rows, begins: begins})
	}
	id := strconv.FormatInt(firstImportID+q.a.book.lastImport, 10)
	q.a.book.lastImport++
	out = append(begin(out, "Your file is now queued."), `{"msg":"Messages put on queue.","ids":["`...)
	out = append(append(out, id...), `"],"id":"`...)
	return append(append(out, id...), `"}}`...), nil
}

// readImport reads the body of an import. field_order may be nested once more,
// as one of the documents' samples has it (004:6906).
func (q *call) readImport() (address []byte, order []int, fail *apiError) {
	var unknown string
	var c *cursor
	var column func() bool
	column = func() bool {
		if c.peek() == '[' {
			return c.array(column)
		}
		var name []byte
		ok := c.text(&name)
		i, known := contactField(string(name))
		if !known && unknown == "" {
			unknown = string(name)
		}
		order = append(order, i)
		return ok
	}
	fail = q.enter(func(cur *cursor, name []byte) bool {
		switch c = cur; string(name) {
		case "file_url":
			return c.text(&address)
		case "field_order":
			return c.array(column)
		}
		return c.skip()
	})
	switch {
	case fail != nil:
		return nil, nil, fail
	case len(address) == 0:
		return nil, nil, &apiError{400, "MISSING_REQUIRED_FIELDS", "Some required fields are missing: file_url."}
	case len(order) == 0:
		return nil, nil, &apiError{400, "MISSING_REQUIRED_FIELDS", "Some required fields are missing: field_order."}
	case unknown != "":
		return nil, nil, badRequest("field_order: there is no field " + unknown + ".")
	}
	return address, order, nil
}

// readRows reads a CSV file into packed contacts, up to where it is none.
func (q *call) readRows(content []byte, order []int) []string {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	var rows []string
	for first := true; ; first = false {
		cells, err := r.Read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				q.s.mu.Lock()
				q.s.count.malformed++ // told to nobody but who asks the sandbox
				q.s.mu.Unlock()
			}
			return rows
		}
		if first && q.s.opts.Imports.SkipHeader {
			continue
		}
		var p person
		for i, v := range cells {
			if i < len(order) {
				p[order[i]] = fieldValue(v)
			}
		}
		if ok, _ := q.reachable(&p); ok {
			rows = append(rows, p.pack())
		}
	}
}

// loseRows drops one row in twenty, and one at the least.
func (q *call) loseRows(rows []string) []string {
	kept := rows[:0]
	lost := q.drawn.rng.IntN(len(rows))
	for i, r := range rows {
		if i != lost && q.drawn.rng.IntN(20) != 0 {
			kept = append(kept, r)
		}
	}
	return kept
}
