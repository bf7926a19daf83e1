package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// attackGuess sends wrong passwords from the address of the hubs, for the name of one of them.
func attackGuess(ctx context.Context, args []string) error {
	a, err := parseAttack(ctx, args)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: a.number,
	}, Timeout: patience}
	return a.keep(ctx, func(ctx context.Context, i int, opened func()) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.api+"/services/", nil)
		if err != nil {
			return err
		}
		request.SetBasicAuth(a.hub, fmt.Sprint("guess-", i))
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		opened()
		_, err = io.Copy(io.Discard, answer.Body)
		return errors.Join(err, answer.Body.Close())
	})
}
