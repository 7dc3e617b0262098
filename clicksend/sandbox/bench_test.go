package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkSMSOverLoopback posts batches of 1,000 messages from a few
// goroutines of the same process and counts SUCCESS in the answers. It prints
// messages a second, client included, and the bytes each kept message holds.
func BenchmarkSMSOverLoopback(b *testing.B) {
	s := New(Options{Balance: "1000000000"})
	srv := httptest.NewServer(s)
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	var next, accepted atomic.Int64
	b.ResetTimer()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			var body, answer bytes.Buffer
			for {
				batch := next.Add(1) - 1
				if batch >= int64(b.N) {
					return
				}
				body.Reset()
				writeBatch(&body, int(batch))
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/v3/sms/send", bytes.NewReader(body.Bytes()))
				if err != nil {
					b.Error(err)
					return
				}
				req.SetBasicAuth(DefaultUsername, DefaultAPIKey)
				res, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				answer.Reset()
				_, err = io.Copy(&answer, res.Body)
				if err := res.Body.Close(); err != nil {
					b.Error(err)
				}
				if err != nil {
					b.Error(err)
					return
				}
				accepted.Add(int64(bytes.Count(answer.Bytes(), []byte(`"status":"SUCCESS"`))))
			}
		})
	}
	group.Wait()
	b.StopTimer()
	total := int64(b.N) * MaxBatch
	if got := accepted.Load(); got != total || s.Stats().Accepted != total || s.Stats().Again != 0 {
		b.Fatalf("%d of %d accepted; %+v", got, total, s.Stats())
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "messages/s")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(total), "B/message")
	runtime.KeepAlive(s)
}

// writeBatch writes a request of 1,000 personal messages of about 200 bytes.
func writeBatch(body *bytes.Buffer, batch int) {
	body.WriteString(`{"messages":[`)
	var number [16]byte
	for i := range MaxBatch {
		if i > 0 {
			body.WriteByte(',')
		}
		n := strconv.AppendInt(number[:0], int64(400_000_000+batch*MaxBatch+i), 10)
		body.WriteString(`{"source":"postrider","to":"+61`)
		body.Write(n)
		body.WriteString(`","from":"ACME","body":"Hi Alexandra `)
		body.Write(n)
		body.WriteString(`, your order has left us and arrives tomorrow between nine and noon. Reply STOP to opt out.","custom_string":"7f3k9q2xw8zr4`)
		body.Write(n)
		body.WriteString(`01"}`)
	}
	body.WriteString(`]}`)
}

func BenchmarkHistoryPage(b *testing.B) {
	s := New(Options{})
	srv := httptest.NewServer(s)
	defer srv.Close()
	send := func(method, path string, body io.Reader) {
		req, err := http.NewRequestWithContext(b.Context(), method, srv.URL+path, body)
		if err != nil {
			b.Fatal(err)
		}
		req.SetBasicAuth(DefaultUsername, DefaultAPIKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
			b.Fatal(res.Status, err)
		}
		if err := res.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
	for batch := range 200 {
		var body bytes.Buffer
		writeBatch(&body, batch)
		send("POST", "/v3/sms/send", &body)
	}
	for _, query := range []string{"order_by=date:asc", "order_by=to:asc", "date_from=1&date_to=4000000000"} {
		b.Run(query, func(b *testing.B) {
			for i := range b.N {
				send("GET", fmt.Sprintf("/v3/sms/history?limit=100&page=%d&%s", i%2000+1, query), nil)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}
