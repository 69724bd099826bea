module lethe.example/go-http

go 1.19
