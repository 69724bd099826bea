// SPDX-License-Identifier: BSD-2-Clause

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

func writePEM(path, kind string, der []byte) {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		fatal("%v", err)
	}
}

// makeCertificate signs one for localhost with its own key.
func makeCertificate(dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fatal("%v", err)
	}
	template := x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		DNSNames:              []string{"localhost"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		fatal("%v", err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		fatal("%v", err)
	}
	writePEM(dir+"/cert.pem", "CERTIFICATE", der)
	writePEM(dir+"/key.pem", "EC PRIVATE KEY", secret)
}

// streams fetches so many bodies at once; all travel over one connection, in HTTP/2's streams.
func streams(address, dir string, n int) {
	text, err := os.ReadFile(dir + "/cert.pem")
	if err != nil {
		fatal("%v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Timeout: 100 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "localhost"},
	}}
	first, err := client.Get("https://" + address + "/first") // the connection that all others then share
	if err != nil {
		fatal("%v", err)
	}
	io.Copy(io.Discard, first.Body)
	first.Body.Close()
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			size := 1000 + i*317
			r, err := client.Get(fmt.Sprintf("https://%s/bytes/%d", address, size))
			if err != nil {
				fatal("stream %d: %v", i, err)
			}
			defer r.Body.Close()
			want := digest(&sequence{0, size})
			if got := digest(r.Body); r.Proto != "HTTP/2.0" || got != want {
				fatal("stream %d: %s, got %s, want %s", i, r.Proto, got, want)
			}
		}(i)
	}
	wg.Wait()
	r, err := client.Post("https://"+address+"/sum", "", &sequence{0, 3000000})
	if err != nil {
		fatal("post: %v", err)
	}
	text, _ = io.ReadAll(r.Body)
	if got, want := strings.TrimSpace(string(text)), digest(&sequence{0, 3000000}); got != want {
		fatal("post: got %s, want %s", got, want)
	}
}
