"""A real mail server for tests, on aiosmtpd: it keeps what it takes, and answers what the recipient's address asks for.

    ada@example.com         250
    550.ada@example.com     550 to RCPT, always; any other code alike
    451x2.ada@example.com   451 to RCPT twice, then 250
    554data.ada@example.com 554 after the mail's text (with x2 as above)
    hang.ada@example.com    no answer

Each mail becomes one file, `<number>.mail`: the commands of its envelope, an empty line, the text as it came.
"""

import argparse
import asyncio
import collections
import os
import re
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

TOLD = re.compile(r"(\d{3})(data)?(?:x(\d+))?\.")


class Keeper:
    def __init__(self, folder):
        self.folder = folder
        self.kept = len([name for name in os.listdir(folder) if name.endswith(".mail")])
        self.refused = collections.Counter()

    def refusal(self, address, stage):
        told = TOLD.match(address)
        if not told or (told[2] or "") != stage:
            return None
        if told[3] and self.refused[address] >= int(told[3]):
            return None
        self.refused[address] += 1
        # Like many real servers, it repeats the address.
        return f"{told[1]} {told[1][0]}.0.0 <{address}>: told to refuse"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("hang."):
            await asyncio.sleep(3600)
        refusal = self.refusal(address, "")
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        for address in envelope.rcpt_tos:
            refusal = self.refusal(address, "data")
            if refusal:
                return refusal
        self.keep(envelope)
        return "250 OK"

    def keep(self, envelope):
        self.kept += 1
        commands = [" ".join([f"MAIL FROM:<{envelope.mail_from}>", *envelope.mail_options])]
        commands += [f"RCPT TO:<{address}>" for address in envelope.rcpt_tos]
        path = os.path.join(self.folder, f"{self.kept}.mail")
        with open(path + ".part", "wb") as file:
            file.write(("\r\n".join(commands) + "\r\n\r\n").encode() + envelope.original_content)
        os.replace(path + ".part", path)


class Server(SMTP):
    def connection_made(self, transport):
        if self.session is None:  # not again after STARTTLS
            print("connection", flush=True)
        super().connection_made(transport)


def authenticator(login):
    def check(server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and b":".join(data).decode() == login
        # Like some real servers, it repeats what it was sent.
        return AuthResult(success=good, handled=False, message=None if good else f"535 5.7.8 no: {data.login.decode()}")

    return check


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--login", help="user:password; nothing goes without it")
    parser.add_argument("--tls", choices=["starttls", "wrapped"])
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--ascii", action="store_true", help="no SMTPUTF8")
    options = parser.parse_args()

    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
    keeper = Keeper(options.folder)

    def session():
        return Server(
            keeper,
            hostname="mail.test",
            enable_SMTPUTF8=not options.ascii,
            tls_context=context if options.tls == "starttls" else None,
            auth_required=options.login is not None,
            auth_require_tls=False,
            authenticator=authenticator(options.login) if options.login else None,
            loop=asyncio.get_running_loop(),
        )

    wrapped = context if options.tls == "wrapped" else None
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", options.port, ssl=wrapped)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
