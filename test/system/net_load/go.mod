module lethe.test/net_load

go 1.19
