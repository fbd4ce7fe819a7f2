"""A client that shares nothing with Tidings but the proto: all five calls, told as JSON."""

import json
import sys

import grpc

import user_pb2
import user_pb2_grpc


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        service = user_pb2_grpc.UserServiceStub(channel)
        ewan = user_pb2.User(
            name="Ewan Valentine",
            company="BBC",
            email="Ewan@Example.com",
            password="correct horse battery",
        )
        created = service.Create(ewan, timeout=30).user
        got = service.Get(user_pb2.User(id=created.id), timeout=30).user
        listed = service.GetAll(user_pb2.Request(), timeout=30).users
        login = user_pb2.User(email=ewan.email, password=ewan.password)
        token = service.Auth(login, timeout=30).token
        valid = service.ValidateToken(user_pb2.Token(token=token), timeout=30).valid
        try:
            service.ValidateToken(user_pb2.Token(token=token + "x"), timeout=30)
            forged = "accepted"
        except grpc.RpcError as error:
            forged = error.code().name
    print(
        json.dumps(
            {
                "created": created.id != "",
                "email": got.email,
                "password": created.password + got.password,
                "same": created.id == got.id,
                "listed": [user.email for user in listed],
                "valid": valid,
                "forged": forged,
            }
        )
    )


main(sys.argv[1])
