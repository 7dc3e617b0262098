package jobs

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// source is what the provider is told about who sends.
const source = "postrider"

// sendEndpoint and priceEndpoint name a channel's operations as the rate
// budget and the client know them.
func sendEndpoint(c campaign.Channel) string  { return "POST " + channelPath(c) + "/send" }
func priceEndpoint(c campaign.Channel) string { return "POST " + channelPath(c) + "/price" }

func channelPath(c campaign.Channel) string {
	switch c {
	case campaign.Letter:
		return "/post/letters"
	case campaign.Postcard:
		return "/post/postcards"
	}
	return "/" + string(c)
}

// Send posts a batch, once. Its error is a *clicksend.Error.
func (p *Provider) Send(ctx context.Context, j *job) (*answer, error) {
	switch j.content.Channel {
	case campaign.SMS:
		return answered(p.client.SMS.Send(ctx, smsMessages(j)))
	case campaign.MMS:
		return answered(p.client.MMS.Send(ctx, mmsRequest(j)))
	case campaign.Letter:
		return answered(p.client.Letters.Send(ctx, letterRequest(j)))
	case campaign.Postcard:
		return answered(p.client.Postcards.Send(ctx, postcardRequest(j)))
	}
	return nil, fmt.Errorf("nothing is sent on channel %q", j.content.Channel)
}

// price asks what a batch would cost. Nothing is sent.
func (p *Provider) price(ctx context.Context, j *job) (*answer, error) {
	switch j.content.Channel {
	case campaign.SMS:
		return answered(p.client.SMS.Price(ctx, smsMessages(j)))
	case campaign.MMS:
		return answered(p.client.MMS.Price(ctx, mmsRequest(j)))
	case campaign.Letter:
		return answered(p.client.Letters.Price(ctx, letterRequest(j)))
	case campaign.Postcard:
		return answered(p.client.Postcards.Price(ctx, postcardRequest(j)))
	}
	return nil, fmt.Errorf("nothing is priced on channel %q", j.content.Channel)
}

func answered[R clicksend.Row](r *clicksend.Result[R], err error) (*answer, error) {
	if err != nil {
		return nil, err
	}
	return &answer{rows: r.Outcomes(), total: r.TotalPrice, currency: r.Currency.Code}, nil
}

func smsMessages(j *job) []clicksend.SMSMessage {
	out := make([]clicksend.SMSMessage, len(j.messages))
	for i, m := range j.messages {
		out[i] = clicksend.SMSMessage{
			To: m.message.To, Body: m.message.Body, From: m.message.From, CustomString: m.reference,
			Source: source, Schedule: j.content.Schedule,
		}
	}
	return out
}

func mmsRequest(j *job) clicksend.MMSRequest {
	r := clicksend.MMSRequest{Messages: make([]clicksend.MMSMessage, len(j.messages))}
	if len(j.urls) > 0 {
		r.MediaFile = j.urls[0]
	}
	for i, m := range j.messages {
		r.Messages[i] = clicksend.MMSMessage{
			To: m.message.To, Body: m.message.Body, Subject: m.message.Subject, From: m.message.From,
			CustomString: m.reference, Source: source,
		}
	}
	return r
}

func letterRequest(j *job) clicksend.LetterRequest {
	c := j.content
	r := clicksend.LetterRequest{
		TemplateUsed: clicksend.Flag(c.TemplateUsed), Colour: clicksend.Flag(c.Colour),
		Duplex: clicksend.Flag(c.Duplex), PriorityPost: clicksend.Flag(c.Priority),
		Source: source, Recipients: postRecipients(j),
	}
	if len(j.urls) > 0 {
		r.FileURL = j.urls[0]
	}
	return r
}

func postcardRequest(j *job) clicksend.PostcardRequest {
	return clicksend.PostcardRequest{FileURLs: j.urls, Recipients: postRecipients(j)}
}

func postRecipients(j *job) []clicksend.PostRecipient {
	out := make([]clicksend.PostRecipient, len(j.messages))
	for i, m := range j.messages {
		out[i] = clicksend.PostRecipient{
			Address: postAddress(m.message.Address), ReturnAddressID: j.content.ReturnAddressID,
			Schedule: j.content.Schedule, CustomString: m.reference,
		}
	}
	return out
}

func postAddress(a campaign.Address) clicksend.Address {
	return clicksend.Address{
		Name: a.Name, Line1: a.Line1, Line2: a.Line2, City: a.City, State: a.State,
		PostalCode: a.PostalCode, Country: a.Country,
	}
}
